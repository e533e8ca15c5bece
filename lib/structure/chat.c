/*
 * chat.c: lists of chat messages as OpenAI's and Anthropic's interfaces take them.
 */
#include "structure/structure_internal.h"

#include <math.h>

static bool is_kind(const pith__json *doc, size_t node, pith__json_kind kind)
{
    return node != PITH__JSON_NONE && doc->nodes[node].kind == kind;
}

static bool is_null(const pith__json *doc, size_t node)
{
    return doc->nodes[node].kind == PITH__JSON_OTHER && doc->text[doc->nodes[node].start] == 'n';
}

/* An object with a role, and content that is a string, a list, null, or missing (tool calls). */
static bool is_message(const pith__json *doc, size_t node)
{
    if (!is_kind(doc, node, PITH__JSON_OBJECT) ||
        !is_kind(doc, pith__json_member(doc, node, "role"), PITH__JSON_STRING)) {
        return false;
    }
    const size_t content = pith__json_member(doc, node, "content");
    return content == PITH__JSON_NONE || is_kind(doc, content, PITH__JSON_STRING) ||
           is_kind(doc, content, PITH__JSON_ARRAY) || is_null(doc, content);
}

size_t pith__chat_find(const pith__json *doc, size_t *bad)
{
    const pith__json_node *root = &doc->nodes[0];
    *bad = root->next < doc->count ? doc->nodes[root->next].start : root->start;
    if (root->next < doc->count) {
        return PITH__JSON_NONE;
    }
    const size_t messages =
        root->kind == PITH__JSON_OBJECT ? pith__json_member(doc, 0, "messages") : 0;
    if (!is_kind(doc, messages, PITH__JSON_ARRAY)) {
        return PITH__JSON_NONE;
    }
    for (size_t i = messages + 1; i < doc->nodes[messages].next; i = doc->nodes[i].next) {
        if (!is_message(doc, i)) {
            *bad = doc->nodes[i].start;
            return PITH__JSON_NONE;
        }
    }
    return messages;
}

bool pith__chat_is_evident(const pith__json *doc, size_t messages)
{
    for (size_t i = messages + 1; i < doc->nodes[messages].next; i = doc->nodes[i].next) {
        if (pith__json_member(doc, i, "content") != PITH__JSON_NONE) {
            return true;
        }
    }
    return false;
}

/* What operators wrote, and what tools answered: data that a model will look up. */
static bool is_protected(const pith__json *doc, size_t message)
{
    static const char *const roles[] = {"system", "developer", "tool", "function"};
    const size_t role = pith__json_member(doc, message, "role");
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (pith__json_equals(doc, role, roles[i])) {
            return true;
        }
    }
    return false;
}

/* The text of a block {"type": "text", "text": ...}, or PITH__JSON_NONE for any other. */
static size_t find_text(const pith__json *doc, size_t block)
{
    if (!is_kind(doc, block, PITH__JSON_OBJECT)) {
        return PITH__JSON_NONE;
    }
    const size_t type = pith__json_member(doc, block, "type");
    const size_t text = pith__json_member(doc, block, "text");
    const bool is_text = type != PITH__JSON_NONE && pith__json_equals(doc, type, "text") &&
                         is_kind(doc, text, PITH__JSON_STRING);
    return is_text ? text : PITH__JSON_NONE;
}

/* "No." and "42" are answers, not text to be shortened. */
static pith_status add_prose(const pith__json *doc, size_t string, const pith_allocator *mem,
                             pith__structure *out, pith_error *err)
{
    return pith__json_is_prose(doc, string)
               ? pith__json_add_string(doc, string, (double)NAN, mem, out, err)
               : PITH_OK;
}

static pith_status read_message(const pith__json *doc, size_t message, const pith_allocator *mem,
                                pith__structure *out, pith_error *err)
{
    const size_t content = pith__json_member(doc, message, "content");
    if (is_kind(doc, content, PITH__JSON_STRING)) {
        return add_prose(doc, content, mem, out, err);
    }
    if (!is_kind(doc, content, PITH__JSON_ARRAY)) {
        return PITH_OK;
    }
    for (size_t i = content + 1; i < doc->nodes[content].next; i = doc->nodes[i].next) {
        const size_t text = find_text(doc, i);
        if (text != PITH__JSON_NONE) {
            PITH__TRY(add_prose(doc, text, mem, out, err));
        }
    }
    return PITH_OK;
}

pith_status pith__chat_read(const pith__json *doc, size_t messages, size_t keep_turns,
                            const pith_allocator *mem, pith__structure *out, pith_error *err)
{
    size_t left = 0;
    const size_t end = doc->nodes[messages].next;
    for (size_t i = messages + 1; i < end; i = doc->nodes[i].next) {
        left++;
    }
    for (size_t i = messages + 1; i < end && left > keep_turns; i = doc->nodes[i].next) {
        left--;
        if (!is_protected(doc, i)) {
            PITH__TRY(read_message(doc, i, mem, out, err));
        }
    }
    return PITH_OK;
}
