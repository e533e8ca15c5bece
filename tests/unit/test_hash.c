/*
 * test_hash.c: SHA-256 against the examples of FIPS 180-4.
 */
#include "base/base.h"

#include "test.h"

static const struct {
    const char *text;
    const char *hash;
} examples[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void the_examples_of_the_standard(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        char text[PITH__SHA256_SIZE];
        pith__sha256_of(examples[i].text, strlen(examples[i].text), text);
        assert_string_equal(text, examples[i].hash);
    }
}

static void a_million_times_a(void **state)
{
    (void)state;
    char text[PITH__SHA256_SIZE];
    char block[1000];
    pith__sha256 hash;
    memset(block, 'a', sizeof block);
    pith__sha256_init(&hash);
    for (size_t i = 0; i < 1000; i++) {
        pith__sha256_add(&hash, block, sizeof block);
    }
    pith__sha256_text(&hash, text);
    assert_string_equal(text, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void pieces_and_the_whole_are_the_same(void **state)
{
    (void)state;
    unsigned char data[300];
    char whole[PITH__SHA256_SIZE];
    char pieces[PITH__SHA256_SIZE];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)(i * 7);
    }
    pith__sha256_of(data, sizeof data, whole);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        pith__sha256 hash;
        pith__sha256_init(&hash);
        pith__sha256_add(&hash, data, cut);
        pith__sha256_add(&hash, NULL, 0);
        pith__sha256_text(&hash, pieces); /* more may follow */
        assert_true(cut == sizeof data || strcmp(pieces, whole) != 0);
        const pith__sha256 copy = hash;
        hash = copy;
        pith__sha256_add(&hash, data + cut, sizeof data - cut);
        pith__sha256_text(&hash, pieces);
        assert_string_equal(pieces, whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_standard),
        cmocka_unit_test(a_million_times_a),
        cmocka_unit_test(pieces_and_the_whole_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
