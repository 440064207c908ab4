/* relay.c under libFuzzer: what it answers from the environment, and that nobody but Python answers otherwise.
 *
 * An input is a byte of flags, up to three variables (a byte for the name, the value, a NUL), and git's request. Each
 * answer goes to ORACLE_FD with what it was given for, and comes back as whether Python's is the same. */

#define main relay_main
#include RELAY
#undef main
#include <assert.h>

enum { MAX_INPUT_BYTES = 1 << 16, MAX_VARIABLES = 3, MARKS = 4 };
static const char *const others[] = {
    "BITBUCKET_API_TOKEN_FILE", "BITBUCKET_TOKEN_FROM", "BITBUCKET_TOKENS_FILE", "BITBUCKET_CLIENT_SECRET",
    "BITBUCKET_CLIENT_ID", "BITBUCKET_APP_PASSWORD", "BITBUCKET_EMAIL", "BITBUCKET_USERNAME",
    "GIT_CREDENTIAL_BITBUCKET_TRACE", "BITBUCKET_CREDENTIAL_TRACE", "GIT_CREDENTIAL_BITBUCKET_DAEMON",
    "GIT_CREDENTIAL_BITBUCKET_VAULT", "GIT_CREDENTIAL_BITBUCKET_SOCKET", "GIT_CREDENTIAL_BITBUCKET_LOG",
    "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0",
};
static char home[PATH_MAX], rejection[PATH_MAX + 8];
static int oracle;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    oracle = atoi(getenv("ORACLE_FD"));
    snprintf(home, sizeof home, "%s", getenv("HOME"));
    snprintf(rejection, sizeof rejection, "%s", getenv("REJECTION"));
    int input = memfd_create("request", 0);
    assert(input >= 0 && dup2(input, STDIN_FILENO) == STDIN_FILENO);
    return 0;
}

static void compare(const char *variables, size_t variables_bytes, const uint8_t *request, size_t request_bytes,
                    bool is_get)
{
    size_t answer_bytes = is_get ? reply_bytes - 1 : 0;
    uint32_t header[4] = {is_get, (uint32_t)variables_bytes, (uint32_t)request_bytes, (uint32_t)answer_bytes};
    char same = 0;
    ssize_t got;
    assert(write_all(oracle, (const char *)header, sizeof header) && write_all(oracle, variables, variables_bytes) &&
           write_all(oracle, (const char *)request, request_bytes) && write_all(oracle, reply, answer_bytes));
    while ((got = read(oracle, &same, 1)) < 0 && errno == EINTR) /* libFuzzer's clock */
        ;
    assert(got == 1);
    if (!same) {
        fprintf(stderr, "DIFFERS from Python\n");
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char variables[MAX_INPUT_BYTES + (2 + MAX_VARIABLES) * (PATH_MAX + 64)];
    char *entries[3 + MAX_VARIABLES], **entry = entries, **real = environ, *at = variables;
    const uint8_t *const end = data + size, *feed;
    if (!size || size > MAX_INPUT_BYTES)
        return -1;
    uint8_t flags = *data++;
    bool is_get = flags & 1;
    *entry++ = at;
    at += sprintf(at, "HOME=%s", home) + 1;
    *entry++ = at;
    at += sprintf(at, "XDG_RUNTIME_DIR=%s/%d", home, (flags >> 1) % MARKS) + 1;
    for (int left = (flags >> 3) % (MAX_VARIABLES + 1); left && data < end; left--) {
        uint8_t name = *data++;
        if (!(feed = memchr(data, 0, (size_t)(end - data))))
            return -1;
        *entry++ = at;
        at += sprintf(at, "%s=%s", name < 128 ? tokens[name % 3].variable : others[name % (sizeof others / sizeof *others)],
                      (const char *)data) + 1;
        data = feed + 1;
    }
    *entry = NULL;
    size_t count = (size_t)(end - data);
    assert(!ftruncate(STDIN_FILENO, 0) && pwrite(STDIN_FILENO, data, count, 0) == (ssize_t)count);
    assert(!lseek(STDIN_FILENO, 0, SEEK_SET));
    if ((flags >> 1) % MARKS == MARKS - 1) /* a rejection of a moment ago */
        assert(!utimensat(AT_FDCWD, rejection, NULL, 0));
    environ = entries;
    const struct token *token = find_token();
    if (token && !needs_fallback()) {
        read_request(is_get ? "get" : "store");
        enum outcome outcome = answer_from_environment(is_get ? "get" : "store", token);
        assert(outcome == ANSWERED || outcome == UNASKED);
        assert(message_bytes - header_bytes == count && !memcmp(message + header_bytes, data, count));
        if (outcome == ANSWERED)
            compare(variables, (size_t)(at - variables), data, count, is_get);
        explicit_bzero(message, message_bytes);
        explicit_bzero(reply, reply_bytes);
        reply_bytes = 0;
    }
    environ = real;
    return 0;
}
