/* sanitize.c - what the leak checker should pass over in programs that draw.
 *
 * fontconfig keeps what it read of the fonts until the process ends, and has no call that a
 * library other than its only user could make to give it back. Nothing else is passed over. This
 * file is empty in ordinary builds. */
#if defined(__SANITIZE_ADDRESS__)
#define CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECKED 1
#endif
#endif

#ifdef CHECKED
#define HOOK __attribute__((visibility("default"), used))

HOOK const char *__lsan_default_suppressions(void);
HOOK const char *__lsan_default_options(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig\n";
}

/* run.sh takes any line in a sanitizer's log for a failure */
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}
#else
typedef int fig_not_sanitized; /* ISO C wants something in a file */
#endif
