/*
 * rules.c: where the release and the papers part, and what the files of this folder share.
 */
#include "lingua/lingua_internal.h"

static const pith__lingua_rules release = {
    .counts_specials = true,
    .compresses_ends = false,
    .negative_is_100 = true,
    .forced_come_first = true,
    .number_acts_at_0 = true,
    .change_is_even = true,
    .ignores_condition = true,
    .prefix_hides_none = true,
    .bonus_on_nll = true,
    .sentences_as_one = true,
    .tags_need_structured = true,
    .joiners_are_text = true,
    .reads_bos = false,
    .judges_next = true,
    .pools_all = true,
    .reads_ahead = true,
    .losses_go_first = true,
    .sinks_alike = true,
    .skips_tail = true,
    .splits_characters = true,
    .splits_by_id = true,
    .decodes = true,
};

static const pith__lingua_rules papers = {
    .compresses_ends = true,
    .reads_bos = true,
};

const pith__lingua_rules *pith__lingua_rules_of(pith__lingua_mode mode)
{
    return mode == PITH__LINGUA_OFFICIAL ? &release : &papers;
}

/* ---- characters ---------------------------------------------------------------------------------- */

bool pith__lingua_is_space(uint32_t code_point)
{
    switch (code_point) {
    case ' ':
    case 0x85:
    case 0xa0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202f:
    case 0x205f:
    case 0x3000:
        return true;
    default:
        return (code_point >= '\t' && code_point <= '\r') ||
               (code_point >= 0x1c && code_point <= 0x1f) ||
               (code_point >= 0x2000 && code_point <= 0x200a);
    }
}

/* How many bytes the character that begins with `lead` has, and what its second may be. */
static size_t sequence_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        return 2;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        *low = lead == 0xe0 ? 0xa0 : 0x80;
        *high = lead == 0xed ? 0x9f : 0xbf;
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        *low = lead == 0xf0 ? 0x90 : 0x80;
        *high = lead == 0xf4 ? 0x8f : 0xbf;
        return 4;
    }
    return 0;
}

size_t pith__lingua_decode(const char *bytes, size_t size, size_t at, bool *broken)
{
    unsigned char low = 0;
    unsigned char high = 0;
    const size_t whole = sequence_length((unsigned char)bytes[at], &low, &high);
    size_t length = 1;
    while (length < whole && at + length < size) {
        const unsigned char next = (unsigned char)bytes[at + length];
        if (next < low || next > high) {
            break;
        }
        low = 0x80;
        high = 0xbf;
        length++;
    }
    *broken = length != whole;
    return length;
}

size_t pith__lingua_characters(const char *bytes, size_t size)
{
    size_t count = 0;
    for (size_t at = 0; at < size; count++) {
        bool broken = false;
        at += pith__lingua_decode(bytes, size, at, &broken);
    }
    return count;
}

/* ---- segments ------------------------------------------------------------------------------------ */

size_t pith__lingua_segment_at(const pith__lingua_context *context, size_t offset)
{
    size_t low = 0;
    size_t high = context->segment_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (context->segments[middle].end > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}
