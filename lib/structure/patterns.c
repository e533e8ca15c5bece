/*
 * patterns.c: named regular expressions for what people want kept.
 *
 * Each looks back before it begins to match and takes runs of characters possessively, so that a
 * long run without a match is looked at once and not once from each of its characters.
 */
#include "structure/structure.h"

#include <string.h>

typedef struct pattern {
    const char *name;
    const char *regex;
} pattern;

/* 1,000.5 and 1'000, with what may come before it left out */
#define DIGITS "\\d++(?:[.,'\\u2019\\u00a0\\u202f]\\d++)*+"
#define SIGN   "[-+\\u2212\\u00b1]"

/* not in the middle of a word or number */
#define NOT_INSIDE "(?<![\\p{L}\\p{N}_])(?<!\\d[.,'])"
#define WORD_ENDS  "(?![\\p{L}\\p{N}_])"

#define MONTH                                                                                   \
    "(?:January|February|March|April|May|June|July|August|September|October|November|December|" \
    "(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\\b\\.?)"
#define DAY   "(?:0?[1-9]|[12]\\d|3[01])(?:st|nd|rd|th)?"
#define CLOCK "(?:[01]?\\d|2[0-3]):[0-5]\\d(?::[0-5]\\d(?:[.,]\\d+)?)?"
#define ZONE  "(?:Z|[+-]\\d{2}:?\\d{2})"
#define YEAR  "(?:1[5-9]|20)\\d{2}[a-z]?"

#define AMOUNT "(?:\\s?(?:thousand|million|billion|trillion|mn|bn|[kKmMbB])\\b)?"
#define CURRENCY                                                                              \
    "(?:USD|EUR|GBP|JPY|CNY|RMB|CHF|CAD|AUD|INR|KRW|dollars?|euros?|pounds?|cents?|yuan|yen|" \
    "rupees?|francs?)"

/* a capitalised word, an initial, a title; "I" is none */
#define NAME_WORD                                                          \
    "(?:(?:Mr|Mrs|Ms|Dr|Prof|St|\\p{Lu})\\.|(?!I(?![\\p{L}\\p{M}\\p{N}]))" \
    "\\p{Lu}[\\p{L}\\p{M}\\p{N}]*+(?:['\\u2019-][\\p{L}\\p{M}\\p{N}]++)*+)"

static const pattern patterns[] = {
    {"email", "(?<![A-Za-z0-9._%+-])[A-Za-z0-9_][A-Za-z0-9._%+-]*+@(?:[A-Za-z0-9-]++\\.)+"
              "[A-Za-z]{2,}"},
    {"url", "(?<![A-Za-z0-9+.-])(?:[A-Za-z][A-Za-z0-9+.-]{1,31}+://|(?i:www)\\.(?=[A-Za-z0-9]))"
            "[\\p{L}\\p{M}\\p{N}!#$%&'*+,./:;=?@\\[\\]_~-]+"
            "(?:\\([^\\s()<>\"]*+\\)[\\p{L}\\p{M}\\p{N}!#$%&'*+,./:;=?@\\[\\]_~-]*)*"
            "(?<![.,:;!?'*_~\\[])"},
    {"date", "(?<![\\p{L}\\p{N}_])(?<!\\d[./-])(?:"
             "\\d{4}([-/.])(?:0?[1-9]|1[0-2])\\1(?:0?[1-9]|[12]\\d|3[01])"
             "(?:[T ]" CLOCK ZONE "?)?"
             "|(?:0?[1-9]|[12]\\d|3[01])([-/.])(?:0?[1-9]|[12]\\d|3[01])\\2\\d{4}"
             "|(?:0?[1-9]|[12]\\d|3[01])/(?:0?[1-9]|[12]\\d|3[01])/\\d{2}"
             "|" DAY "(?: of)? " MONTH "(?:,? \\d{4})?"
             "|" MONTH " " DAY "(?:,? \\d{4})?"
             "|" MONTH ",? \\d{4}"
             "|\\d{4}\\u5e74(?:\\d{1,2}\\u6708(?:\\d{1,2}\\u65e5)?)?"
             "|\\d{1,2}\\u6708\\d{1,2}\\u65e5"
             ")(?![A-Za-z0-9_])(?![./-]\\d)"},
    {"time", "(?:(?<![\\p{L}\\p{N}_:.])|(?<=\\dT))(?:" CLOCK "(?:\\s?[AaPp]\\.?[Mm]\\b\\.?)?"
             "(?:" ZONE "|\\s(?:UTC|GMT|[CPEM][SDE]?T)(?:[+-]\\d{1,2})?\\b)?"
             "|(?:1[0-2]|0?[1-9])\\s?(?:[AaPp][Mm]\\b|[AaPp]\\.[Mm]\\.)"
             "|\\d{1,2}\\s?o['\\u2019]clock)(?![\\p{L}\\p{N}_:])"},
    {"number", "(?<![\\p{L}\\p{N}_])(?:" SIGN "|(?<!\\d)\\.)?" DIGITS "(?:[eE][+-]?+\\d++)?+"},
    {"money", "(?=" SIGN "?[\\p{Sc}\\dA-Z])" NOT_INSIDE SIGN "?+(?:(?=[\\p{Sc}A-Z])"
              "(?:(?:[A-Z]{1,3}\\s?)?\\p{Sc}\\s?" SIGN "?"
              "|(?:USD|EUR|GBP|JPY|CNY|RMB|CHF|CAD|AUD|INR|KRW)\\s?)" DIGITS AMOUNT "|" DIGITS
              "(?=\\s?[\\p{Sc}A-Za-z\\u5143\\u5186])" AMOUNT "\\s?(?:\\p{Sc}|" CURRENCY
              "\\b|[\\u5143\\u5186]))"},
    {"percent", "(?=" SIGN "?\\d)" NOT_INSIDE SIGN "?+" DIGITS
                "(?:\\s?+%?+\\s?+[-\\u2013\\u2014]\\s?+" DIGITS ")?"
                "(?=\\s?-?[%\\u2030\\uff05pb])\\s?-?(?:[%\\u2030\\uff05]|(?:percent|per cent|"
                "percentage points?|pp|bps|basis points?)\\b)"},
    {"phone", "(?<![\\p{L}\\p{N}_+(.-])(?:"
              "\\+[1-9]\\d{0,2}[ .-]?(?:\\(\\d{1,4}\\)[ .-]?)?\\d{2,12}(?:[ .-]\\d{2,8}){0,4}"
              "|(?:\\(\\d{2,5}\\) ?|\\d{3}[ .-])\\d{3,4}[ .-]\\d{4}"
              "|0[1-9]\\d{1,3}[ /-]\\d{5,9}"
              "|1[3-9]\\d{9})(?![\\p{L}\\p{N}_])(?!-\\d)"},
    {"uuid", "(?<![\\w-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![\\w-])"},
    {"path", "(?:(?<![\\w/.:~\\\\<-])(?:~?/|\\.{1,2}/)[\\w.+@%-][\\w.+@%/-]*(?<![.-])"
             "|(?<!\\w)(?:[A-Za-z]:[\\\\/]|\\\\\\\\\\w)[^\\s\"<>|:*?,;()\\[\\]]*(?<!\\.)"
             "|(?<![\\w/.:@+-])(?:[\\w+-][\\w.+-]*+/)++[\\w+-][\\w.+-]*\\.[A-Za-z]\\w{0,9}"
             "(?![\\w/-]))"},
    {"version", "(?<![\\p{L}\\p{N}_.-])(?:[vV]\\d++(?:\\.\\d++)*+|[vV]ersion \\d++(?:\\.\\d++)*+"
                "|\\d++(?:\\.\\d++){2,}+)(?:-?(?:alpha|beta|rc|a|b|dev|post|pre)[.-]?\\d*+"
                "|[-+][0-9A-Za-z]++(?:[.-][0-9A-Za-z]++)*+)*+" WORD_ENDS},
    {"citation",
     "\\[\\d{1,4}(?:\\s?[,;\\u2013-]\\s?\\d{1,4})*+\\]"
     "|\\((?:(?:see|cf\\.|e\\.g\\.,?) )?\\p{Lu}[^()\\d]{0,120}+" YEAR "(?:[;,:][^()]{0,200}+)?\\)"
     "|(?<![\\p{L}'\\u2019-])\\p{Lu}[\\p{L}'\\u2019-]++(?: et al\\.,?| (?:and|&) "
     "\\p{Lu}[\\p{L}'\\u2019-]++)?"
     " \\(" YEAR "(?:, pp?\\. ?\\d[\\d\\u2013-]*+)?\\)"
     "|\\\\[a-zA-Z]{0,12}cite[a-zA-Z]{0,12}\\*?(?:\\[[^\\[\\]]{0,100}+\\]){0,2}\\{[^{}]{1,300}+\\}"
     "|\\[-?@[^\\[\\]\\s]{1,80}+(?:[,;] [^\\[\\]]{1,200}+)?\\]"},
    {"quoted", "(?<![\\p{L}\\p{N}\"])\"(?!\\s)[^\"\\r\\n]{1,1000}+(?<!\\s)\"(?![\\p{L}\\p{N}])"
               "|\\u201c[^\\u201c\\u201d\\r\\n]{1,1000}+\\u201d"
               "|\\u201e[^\\u201c\\u201d\\u201e\\r\\n]{1,1000}+[\\u201c\\u201d]"
               "|\\u00ab[^\\u00ab\\u00bb\\r\\n]{1,1000}+\\u00bb"
               "|\\u300c[^\\u300c\\u300d\\r\\n]{1,1000}+\\u300d"
               "|\\u300e[^\\u300e\\u300f\\r\\n]{1,1000}+\\u300f"
               "|\\u2018(?:[^\\u2018\\u2019\\r\\n]|(?<=\\p{L})\\u2019(?=\\p{L})){1,300}+\\u2019"
               "|(?<![\\p{L}\\p{N}'])'(?!\\s)(?:[^'\\r\\n]|(?<=\\p{L})'(?=\\p{L})){1,300}+(?<!\\s)'"
               "(?![\\p{L}\\p{N}])"},
    /* after a comma, a word in lower case, or one that only its place made a capital */
    {"name",
     "(?=\\p{Lu})(?<=[\\p{Ll}\\p{N},;I][ \\u00a0])(?:(?<=[,;][ \\u00a0])"
     "|(?<!\\p{Lu}[\\p{L}\\p{M}\\p{N}'\\u2019-]{0,12}[ \\u00a0])"
     "|(?<=(?=[A-Z])\\b(?:A(?:nd|s|t)|B(?:ut|y)|F(?:or|rom)|I[fn]?|O[fn]|T(?:he|o)|W(?:hen|ith))"
     "[ \\u00a0]))" NAME_WORD
     "(?:[ \\u00a0](?:(?:of|the|de|la|le|du|des|van|von|der|den|di|da|del|al|bin|y)[ \\u00a0])"
     "{0,2}" NAME_WORD ")*+"},
    {"acronym", "(?<![\\p{L}\\p{M}\\p{N}_])(?:\\p{Lu}[\\p{Lu}\\p{N}]{1,9}+(?:[&/-]\\p{Lu}"
                "[\\p{Lu}\\p{N}]{0,9}+)*+s?|\\p{Lu}&\\p{Lu}|(?:\\p{Lu}\\.){2,}+)"
                "(?![\\p{L}\\p{M}\\p{N}_])"},
    {"hashtag", "(?<![\\p{L}\\p{N}_&#/])#[\\p{N}_]*+\\p{L}[\\p{L}\\p{M}\\p{N}_]*+"},
    {"mention", "(?<![\\p{L}\\p{N}_.@/+%-])@[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,48}[A-Za-z0-9_])?"
                "(?![A-Za-z0-9_@])"},
};

size_t pith__pattern_count(void)
{
    return sizeof patterns / sizeof patterns[0];
}

const char *pith__pattern_name(size_t index)
{
    return index < pith__pattern_count() ? patterns[index].name : NULL;
}

const char *pith__pattern_regex(const char *name)
{
    for (size_t i = 0; i < pith__pattern_count(); i++) {
        if (strcmp(name, patterns[i].name) == 0) {
            return patterns[i].regex;
        }
    }
    return NULL;
}
