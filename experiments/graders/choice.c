/* choice.c - the letter of an option in what a model wrote: "(B)", "B.", "**B**", "Option b".
 *
 * Looked for in this order: a letter in brackets; a capital letter that stands alone and is
 * followed by . : ) , * or the end; a small letter that is all there is. A bare capital in
 * running text does not count: "A man bought" states no answer. */
#include "experiments/graders/grader.h"

#include <string.h>

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '\''
           || (unsigned char)c >= 0x80;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool take(char c, const char *letters, rm_text *out)
{
    c = upper(c);
    if (c == '\0' || !strchr(letters, c))
        return false;
    rm_text_add(out, &c, 1);
    return true;
}

bool rm_choice_canonical(const char *s, size_t n, const char *letters, rm_text *out)
{
    for (size_t i = 0; i + 2 < n; i++)
        if ((s[i] == '(' || s[i] == '[' || s[i] == '{')
            && (s[i + 2] == ')' || s[i + 2] == ']' || s[i + 2] == '}')
            && take(s[i + 1], letters, out))
            return true;
    for (size_t i = 0; i < n; i++) {
        bool alone = (i == 0 || !is_word(s[i - 1]))
                     && (i + 1 == n || strchr(".:),*\n\r", s[i + 1]));
        if (alone && s[i] == upper(s[i]) && take(s[i], letters, out))
            return true;
    }
    while (n && (s[0] == ' ' || s[0] == '\n'))
        s++, n--;
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\n'))
        n--;
    return n == 1 && take(s[0], letters, out);
}
