/* exact.c - answers that are words or formulas: compared as text.
 *
 * Canonical form: white space runs become one space and none stays at the ends; quotes, markdown
 * emphasis, dollar signs and a final period around the whole are taken off; with `fold_case`
 * ASCII letters are lowered; with `latex` what only spaces or sizes (\left, \right, \, \! \; and
 * all blanks) is dropped, \dfrac and \tfrac become \frac, and degree signs go. It is a
 * textual normalisation: it knows nothing of algebra, so equal formulas written differently stay
 * different. */
#include "experiments/graders/grader.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Takes wrapping off both ends until nothing changes. */
static void trim(const char **bytes, size_t *n)
{
    static const char pairs[] = "\"'`*$_";
    for (bool changed = true; changed;) {
        changed = false;
        while (*n && is_blank((*bytes)[0]))
            ++*bytes, --*n, changed = true;
        while (*n && is_blank((*bytes)[*n - 1]))
            --*n, changed = true;
        if (*n > 1 && (*bytes)[*n - 1] == '.')
            --*n, changed = true;
        if (*n > 1 && (*bytes)[0] == (*bytes)[*n - 1] && strchr(pairs, (*bytes)[0]))
            ++*bytes, *n -= 2, changed = true;
    }
}

/* Length of a LaTeX command at s that only spaces or sizes, 0 if it is none. */
static size_t latex_noise(const char *s, size_t n)
{
    static const char *const words[] = { "\\left", "\\right", "\\!", "\\,", "\\;", "\\:", "\\ ",
                                         "^\\circ", "^{\\circ}", "\\$", "\\%" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i]);
        if (n < length || memcmp(s, words[i], length))
            continue;
        bool word = i < 2; /* \leftarrow is not \left */
        char next = n > length ? s[length] : ' ';
        if (!word || !((next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z')))
            return length;
    }
    return 0;
}

bool rm_exact_canonical(const char *bytes, size_t n, bool fold_case, bool latex, rm_text *out)
{
    trim(&bytes, &n);
    size_t before = out->length;
    for (size_t i = 0; i < n;) {
        size_t noise = latex ? latex_noise(bytes + i, n - i) : 0;
        if (noise) {
            i += noise;
        } else if (is_blank(bytes[i])) {
            while (i < n && is_blank(bytes[i]))
                i++;
            if (!latex)
                rm_text_add(out, " ", 1);
        } else if (latex && n - i > 6 && (!memcmp(bytes + i, "\\dfrac", 6)
                                          || !memcmp(bytes + i, "\\tfrac", 6))) {
            rm_text_puts(out, "\\frac");
            i += 6;
        } else {
            char c = bytes[i++];
            if (fold_case && c >= 'A' && c <= 'Z')
                c = (char)(c - 'A' + 'a');
            rm_text_add(out, &c, 1);
        }
    }
    return out->length > before;
}
