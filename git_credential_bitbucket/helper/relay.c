/* The hot path, native: passes git's request to the daemon, and its reply to git, and parses neither. Answers a plain
 * request for bitbucket.org from a plain token in the environment itself. It does what relay.py and fallback.py do; all
 * else it leaves to the Python front end, which it executes in its own place, with the request on standard input. Needs
 * libc and POSIX only. */

#define _GNU_SOURCE
#define __STDC_WANT_LIB_EXT1__ 1 /* memset_s, on macOS */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#ifdef __APPLE__
#include <mach-o/dyld.h>
extern char **environ; /* no header has it there */
#define explicit_bzero(at, count) memset_s(at, count, 0, count)
#define CACHE_IN_HOME "/Library/Caches/"
#else
#define CACHE_IN_HOME "/.cache/"
#endif

#define NAME "git-credential-bitbucket"
#define OWN_PREFIX "GIT_CREDENTIAL_BITBUCKET_"
#define SECTION "credentialbitbucket." /* config.SECTION */
#define HEADER "action=%s\ntimeout=35\n%s" /* as git's own client sends it; the daemon has its own deadlines */
enum { MAX_HEADER_BYTES = 64, CHUNK_BYTES = 1 << 16, MAX_REPLY_BYTES = 1 << 20, MAX_SOCKET_PATH_BYTES = 103 };
#define MAX_REQUEST_BYTES (1 << 20) /* git_protocol.py's limit; at most a chunk more is read */
#define ACKNOWLEDGED "ok=1\n"
#ifndef RELAY_TIMEOUT_S
#define RELAY_TIMEOUT_S 40 /* the daemon answers within 30 s; after this it is stuck */
#endif

/* The outcome of the request, passed to the Python front end in the variable RELAYED. */
enum outcome { ANSWERED, EMPTY, ABSENT, TIMEOUT, UNACKNOWLEDGED, UNASKED };
static const char *const words[] = {"answered", "empty", "absent", "timeout", "unacknowledged", "unasked"};
#define RELAYED "GIT_CREDENTIAL_BITBUCKET_RELAYED"
#define SPAWNED "GIT_CREDENTIAL_BITBUCKET_SPAWNED" /* daemon_launcher.SPAWNED */

/* Variables with a token, and the username of one whose prefix tells nothing: environment_tokens.TOKENS in C. */
#define API_TOKEN_USERNAME "x-bitbucket-api-token-auth"
#define ACCESS_TOKEN_USERNAME "x-token-auth"
static const struct token {
    const char *variable, *username;
} tokens[] = {{"BITBUCKET_API_TOKEN", API_TOKEN_USERNAME},
              {"BITBUCKET_ACCESS_TOKEN", ACCESS_TOKEN_USERNAME},
              {"BITBUCKET_TOKEN", ACCESS_TOKEN_USERNAME}};

/* What a token consists of that is given to git as it is; with anything else in it, Python strips or rejects it. */
#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define TOKEN_CHARACTERS ALPHANUMERIC "-._~+/="
#define PATH_CHARACTERS ALPHANUMERIC "-._~+/"
enum { MAX_PLAIN_BYTES = 65535 }; /* git_protocol.MAX_LINE_BYTES, here of all lines together */
enum { RECENT_REJECTION_S = 61 }; /* secret_markers.ERASED_TTL_S, rounded up */

/* Variables that may hold another credential, which precedes the daemon; switch the daemon off, name more than one, or
 * want a trace. */
static const char *const special_variables[] = {
    "GIT_CREDENTIAL_BITBUCKET_DAEMON", "GIT_CREDENTIAL_BITBUCKET_TRACE", "GIT_CREDENTIAL_BITBUCKET_OUTER",
    "BITBUCKET_API_TOKEN_FILE", "BITBUCKET_API_TOKEN_FROM",
    "BITBUCKET_ACCESS_TOKEN_FILE", "BITBUCKET_ACCESS_TOKEN_FROM",
    "BITBUCKET_TOKEN_FILE", "BITBUCKET_TOKEN_FROM",
    "BITBUCKET_CLIENT_SECRET", "BITBUCKET_CLIENT_SECRET_FILE", "BITBUCKET_CLIENT_SECRET_FROM",
    "BITBUCKET_OAUTH_CLIENT_SECRET", "BITBUCKET_OAUTH_CLIENT_SECRET_FILE", "BITBUCKET_OAUTH_CLIENT_SECRET_FROM",
    "BITBUCKET_TOKENS_FILE",
};

static char vault_line[32]; /* the vault that the daemon must serve, where one is named */
static char message[MAX_HEADER_BYTES + MAX_REQUEST_BYTES + CHUNK_BYTES]; /* the header, then git's request */
static char reply[MAX_REPLY_BYTES];
static size_t header_bytes, message_bytes, reply_bytes;

static void forbid_dumps(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
#ifdef __linux__
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a core_pattern that is a program ignores the limit: core(5) */
#endif
}

/* The variable's value, if it begins like that and is not empty. A setting of ours has a second name, as
 * paths.adopt_second_names has it. */
static const char *variable(const char *name, const char *beginning)
{
    const char *value = getenv(name);
    char second[64];
    if ((!value || !*value) && !strncmp(name, OWN_PREFIX, strlen(OWN_PREFIX))) {
        snprintf(second, sizeof second, "BITBUCKET_CREDENTIAL_%s", name + strlen(OWN_PREFIX));
        value = getenv(second);
    }
    return value && *value && !strncmp(value, beginning, strlen(beginning)) ? value : NULL;
}

/* ipc.names_settings in C. */
static bool names_settings(void)
{
    const char *given = getenv("GIT_CONFIG_PARAMETERS");
    if (given && strcasestr(given, SECTION))
        return true;
    for (char **entry = environ; getenv("GIT_CONFIG_COUNT") && *entry; entry++)
        if (!strncmp(*entry, "GIT_CONFIG_KEY_", strlen("GIT_CONFIG_KEY_")) && (given = strchr(*entry, '=')) &&
            !strncasecmp(given + 1, SECTION, strlen(SECTION)))
            return true;
    return false;
}

static bool needs_fallback(void)
{
    for (size_t i = 0; i < sizeof special_variables / sizeof *special_variables; i++)
        if (variable(special_variables[i], ""))
            return true;
    return names_settings();
}

/* paths.fnv1a in C. */
static uint64_t fnv1a(const char *text)
{
    uint64_t found = 0xcbf29ce484222325;
    for (; *text; text++)
        found = (found ^ (unsigned char)*text) * 0x100000001b3;
    return found;
}

/* paths.runtime_dir in C: what it begins with, and its other part in `rest`; NULL where Python must find it. */
static const char *runtime_dir(const char **rest)
{
    static char run_user[32];
    const char *base = variable("XDG_RUNTIME_DIR", "/");
    struct stat found;
    *rest = "/" NAME;
    snprintf(run_user, sizeof run_user, "/run/user/%lu", (unsigned long)getuid());
    if (!base && !stat(run_user, &found) && found.st_uid == getuid())
        base = run_user;
#ifndef __APPLE__
    if (!base)
        base = variable("XDG_CACHE_HOME", "/");
#endif
    if (!base) {
        base = variable("HOME", "/");
        *rest = CACHE_IN_HOME NAME;
    }
    return base;
}

/* paths.socket_candidates in C, the first or second of them, up to the length that Linux and macOS take; false where
 * there is none, or where Python must find it. */
static bool find_socket(struct sockaddr_un *address, bool second)
{
    const char *base = variable("GIT_CREDENTIAL_BITBUCKET_SOCKET", ""), *directory = "";
    const char *vault = variable("GIT_CREDENTIAL_BITBUCKET_VAULT", "");
    char name[32] = "";
    if (second && (base || !vault))
        return false;
    if (vault)
        snprintf(vault_line, sizeof vault_line, "vault=%016" PRIx64 "\n", fnv1a(vault));
    if (!base && vault && !second)
        snprintf(name, sizeof name, "/socket-%016" PRIx64, fnv1a(vault));
    else if (!base)
        strcpy(name, "/socket");
    if (!base)
        base = runtime_dir(&directory);
    int length = base ? snprintf(address->sun_path, MAX_SOCKET_PATH_BYTES + 1, "%s%s%s", base, directory, name) : -1;
    return length >= 0 && length <= MAX_SOCKET_PATH_BYTES;
}

/* Whether only this user can write to the directory of the socket: paths.check_private_dir in C. True also where there
 * is none: nobody listens there. */
static bool is_private(const struct sockaddr_un *address)
{
    char directory[MAX_SOCKET_PATH_BYTES + 1];
    struct stat found;
    char *end = strrchr(strcpy(directory, address->sun_path), '/');
    while (end && end > directory && *end == '/') /* lstat follows a link that is written with a slash at its end */
        *end-- = 0;
    if (!end || lstat(directory, &found))
        return end && errno == ENOENT;
    return S_ISDIR(found.st_mode) && found.st_uid == getuid() && !(found.st_mode & 077);
}

/* Standard input up to its end, or to a blank line: some programs keep the pipe open after it. */
static void read_request(const char *operation)
{
    size_t searched;
    ssize_t got;
    message_bytes = header_bytes = (size_t)snprintf(message, MAX_HEADER_BYTES, HEADER, operation, vault_line);
    do {
        searched = message_bytes - 1; /* at first the header's own newline */
        got = read(STDIN_FILENO, message + message_bytes, CHUNK_BYTES);
        message_bytes += got > 0 ? (size_t)got : 0;
    } while ((got > 0 || (got < 0 && errno == EINTR)) && message_bytes - header_bytes <= MAX_REQUEST_BYTES &&
             !memmem(message + searched, message_bytes - searched, "\n\n", 2));
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Wait until `peer` is ready for `event`, or `deadline` is past: then 0, as of poll(2). */
static int wait_for(int peer, short event, long long deadline)
{
    struct pollfd waiting = {.fd = peer, .events = event};
    long long left = deadline - now_ms();
    return left > 0 ? poll(&waiting, 1, (int)left) : 0;
}

/* Whether this user or root listens: the directory may have been replaced since its check. */
static bool is_trusted(int peer)
{
#ifdef __linux__
    struct ucred is;
    return !getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &is, &(socklen_t){sizeof is}) && (is.uid == getuid() || !is.uid);
#else
    uid_t uid;
    return !getpeereid(peer, &uid, &(gid_t){0}) && (uid == getuid() || !uid);
#endif
}

/* Send the message, and read the reply up to its end. */
static enum outcome exchange(int peer, const struct sockaddr_un *address)
{
    long long deadline = now_ms() + RELAY_TIMEOUT_S * 1000;
    size_t sent = 0;
    ssize_t done;
    /* for connect: its queue may be full */
    setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = RELAY_TIMEOUT_S}, sizeof(struct timeval));
    while (connect(peer, (const struct sockaddr *)address, sizeof *address))
        if (errno != EINTR)
            return errno == EAGAIN ? TIMEOUT : ABSENT;
    if (!is_trusted(peer))
        return UNASKED; /* the Python front end says why */
    while (sent < message_bytes) {
        if (!wait_for(peer, POLLOUT, deadline))
            return TIMEOUT;
        done = send(peer, message + sent, message_bytes - sent, MSG_DONTWAIT);
        if (done < 0 && errno != EINTR && errno != EAGAIN)
            break; /* it read only a part, and may have replied */
        sent += done > 0 ? (size_t)done : 0;
    }
    shutdown(peer, SHUT_WR);
    while (reply_bytes < sizeof reply) {
        if (!wait_for(peer, POLLIN, deadline))
            return TIMEOUT;
        done = recv(peer, reply + reply_bytes, sizeof reply - reply_bytes, MSG_DONTWAIT);
        if (done < 0 && errno != EINTR && errno != EAGAIN)
            return EMPTY;
        if (!done) /* git would take a password that was cut off in its middle */
            return reply_bytes && reply[reply_bytes - 1] == '\n' ? ANSWERED : EMPTY;
        reply_bytes += done > 0 ? (size_t)done : 0;
    }
    return EMPTY; /* no answer is that long */
}

static enum outcome ask_daemon(const char *operation, const struct sockaddr_un *address)
{
    int peer = socket(AF_UNIX, SOCK_STREAM, 0);
    enum outcome outcome = peer < 0 ? ABSENT : exchange(peer, address);
    close(peer);
    if (strcmp(operation, "get") && (outcome == ANSWERED || outcome == EMPTY) &&
        (reply_bytes != strlen(ACKNOWLEDGED) || memcmp(reply, ACKNOWLEDGED, reply_bytes)))
        return UNACKNOWLEDGED;
    if (!strcmp(operation, "get") && outcome == ANSWERED && (reply_bytes < 2 || reply[reply_bytes - 2] != '\n'))
        return UNACKNOWLEDGED; /* not a daemon of ours, or one of 0.1.0: the Python front end finds out */
    return outcome;
}

/* The token that the environment holds, the first of them; NULL where it holds none. */
static const struct token *find_token(void)
{
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (variable(tokens[i].variable, ""))
            return tokens + i;
    return NULL;
}

/* The username for the token `secret`, by its prefix, else `usual`: token_kinds.recognise in C. NULL where the token is
 * Python's: an app password, one of Data Center, or with characters around it or in it that no token has. */
static const char *username_of(const char *secret, const char *usual)
{
    if (secret[strspn(secret, TOKEN_CHARACTERS)] || !strncmp(secret, "ATBB", 4) || !strncmp(secret, "BBDC-", 5))
        return NULL;
    if (!strncmp(secret, "ATATT", 5))
        return API_TOKEN_USERNAME;
    return strncmp(secret, "ATCTT", 5) ? usual : ACCESS_TOKEN_USERNAME;
}

/* Whether a path is written as a repository's is: no escapes, no segment that a server may resolve to another. */
static bool is_plain_path(const char *path, size_t count)
{
    /* strspn ends at the line feed after the path */
    return count == strspn(path, PATH_CHARACTERS) && !memmem(path, count, "..", 2) && !memmem(path, count, "//", 2);
}

/* Whether the request is for https://bitbucket.org, and each line one that git itself sends, in printable ASCII, those
 * of a single value once; and has the password `secret` if it is a `store`, none if it is a `get`. */
static bool is_plain_request(const char *operation, const char *secret)
{
    enum { PROTOCOL, HOST, PATH, USERNAME, PASSWORD, LISTS, ALL = LISTS + 3 };
    static const char *const beginnings[ALL] = {"protocol=https", "host=bitbucket.org", "path=", "username=",
                                                "password=", "capability[]=", "state[]=", "wwwauth[]="};
    const char *line = message + header_bytes, *const end = message + message_bytes;
    bool seen[ALL] = {false};
    if (message_bytes - header_bytes > MAX_PLAIN_BYTES)
        return false;
    while (line < end && *line != '\n') {
        const char *feed = line;
        size_t key = 0;
        while (feed < end && *feed >= ' ' && *feed <= '~')
            feed++;
        if (feed == end || *feed != '\n')
            return false;
        while (key < ALL && strncmp(line, beginnings[key], strlen(beginnings[key])))
            key++;
        if (key == ALL || (key < LISTS && seen[key]))
            return false;
        seen[key] = true;
        const char *value = line + strlen(beginnings[key]);
        size_t count = (size_t)(feed - value);
        if ((key <= HOST && count) || (key == PATH && !is_plain_path(value, count)) ||
            (key == PASSWORD && (count != strlen(secret) || memcmp(value, secret, count))))
            return false;
        line = feed + 1;
    }
    return seen[PROTOCOL] && seen[HOST] && seen[PASSWORD] == !strcmp(operation, "store");
}

/* Whether a mark on a rejected secret, whichever, may still be valid: secret_markers.is_marked in C, without the digest. */
static bool may_be_rejected(void)
{
    const char *rest, *base = runtime_dir(&rest);
    char path[PATH_MAX];
    int length = base ? snprintf(path, sizeof path, "%s%s", base, rest) : -1;
    DIR *directory = length >= 0 && length < PATH_MAX ? opendir(path) : NULL;
    struct dirent *entry;
    struct stat found;
    bool is_marked = false;
    if (!directory)
        return length < 0 || length >= PATH_MAX || errno != ENOENT;
    while (!is_marked && (errno = 0, entry = readdir(directory)))
        if (!strncmp(entry->d_name, "rejected-", strlen("rejected-")))
            is_marked = true;
        else if (!strncmp(entry->d_name, "erased-", strlen("erased-")))
            is_marked = fstatat(dirfd(directory), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) ||
                        llabs((long long)time(NULL) - (long long)found.st_mtime) <= RECENT_REJECTION_S;
    is_marked = is_marked || errno;
    closedir(directory);
    return is_marked;
}

/* fallback.get and fallback.store in C, for a plain request and a plain token: the former's reply is the daemon's, the
 * latter stores nothing that the environment holds. All else is Python's. */
static enum outcome answer_from_environment(const char *operation, const struct token *token)
{
    const char *secret = getenv(token->variable), *username = username_of(secret, token->username);
    if (!username || !is_plain_request(operation, secret))
        return UNASKED;
    if (!strcmp(operation, "store"))
        return ANSWERED;
    int length = snprintf(reply, sizeof reply, "username=%s\npassword=%s\n\n", username, secret);
    reply_bytes = length > 0 && (size_t)length < sizeof reply ? (size_t)length : sizeof reply;
    return reply_bytes < sizeof reply && !may_be_rejected() ? ANSWERED : UNASKED;
}

static bool write_all(int descriptor, const char *bytes, size_t count)
{
    while (count) {
        ssize_t done = write(descriptor, bytes, count);
        if (done < 0 && errno != EINTR)
            return false;
        bytes += done > 0 ? done : 0;
        count -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

/* Put the request back on standard input, by a process of its own: it may be more than a pipe holds. Where that fails,
 * exit: half a request must not be served. */
static void give_back_request(void)
{
    int ends[2];
    pid_t writer;
    if (pipe(ends) || (writer = fork()) < 0)
        _exit(1);
    if (!writer) {
        close(ends[0]);
        close(STDOUT_FILENO); /* git waits for the end of it */
        _exit(!write_all(ends[1], message + header_bytes, message_bytes - header_bytes));
    }
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    close(ends[1]);
}

/* The script is beside the executable that the links lead to. */
static FILE *open_script(char script[PATH_MAX + 4], const char *argv0)
{
#ifdef __APPLE__
    char self[PATH_MAX];
    if (_NSGetExecutablePath(self, &(uint32_t){sizeof self}))
        return NULL;
#else
    const char *self = "/proc/self/exe";
#endif
    if (!realpath(self, script)) /* there is no /proc, or an upgrade has just replaced this file */
        if (!strchr(argv0, '/') || !realpath(argv0, script)) /* a bare name is not the work tree's */
            return NULL;
    return fopen(strcat(script, ".py"), "re");
}

/* Execute the script by the interpreter that its installer has written into its first line, isolated: the working
 * directory and PYTHONPATH are not trusted. Where that line would be too long or the path has a space in it, some
 * write #!/bin/sh, then '''exec' PATH "$0" "$@", and the shell sees to the quotes in PATH: it does so here too. */
static int run_python(int argc, char **argv)
{
    char script[PATH_MAX + 4] = "", first[PATH_MAX + 4] = "", second[2 * PATH_MAX] = "", command[3 * PATH_MAX];
    FILE *file = open_script(script, argv[0]);
    char **python = calloc((size_t)argc + 4, sizeof *python);
    char *path = first + strlen("#!"), *end;
    if (file && python && fgets(first, sizeof first, file) && fgets(second, sizeof second, file)) {
        first[strcspn(first, "\n")] = 0;
        if ((end = strstr(path, " -"))) /* pipx adds options; ours are stricter */
            *end = 0;
        memcpy(python, (char *[]){path, "-I", "-S", script}, 4 * sizeof *python);
        if (!strcmp(path, "/bin/sh") && (end = strstr(second, " \"$0\" \"$@\""))) {
            *end = 0;
            snprintf(command, sizeof command, "exec %s -I -S \"$0\" \"$@\"", second + strlen("'''exec' "));
            memcpy(python + 1, (char *[]){"-c", command}, 2 * sizeof *python);
        }
        memcpy(python + 4, argv + 1, (size_t)(argc - 1) * sizeof *python);
        /* Even with -I these would name the Python that the daemon is started by (CPython's getpath.py). */
        unsetenv("PYTHONEXECUTABLE");
        unsetenv("__PYVENV_LAUNCHER__");
        execv(path, python);
    }
    fprintf(stderr, NAME ": error: cannot execute the Python it was installed with: %s\n" NAME ": hint: reinstall "
            NAME "\n", *path ? path : script);
    return 1;
}

/* In a process that shares nothing with git: execute the daemon's Python, its standard input and output these pipes.
 * Does not return. It gets the variables of daemon_launcher.INTERPRETER_VARIABLES; it closes what else it inherits. */
static void execute_daemon(char *self, int document, int ready)
{
    static char *kept[3];
    size_t count = 0;
    if (setsid() < 0 || fork())
        _exit(0);
    for (char **entry = environ; *entry && count < 2; entry++)
        if (!strncmp(*entry, "LD_LIBRARY_PATH=", strlen("LD_LIBRARY_PATH=")) ||
            !strncmp(*entry, "DYLD_LIBRARY_PATH=", strlen("DYLD_LIBRARY_PATH=")))
            kept[count++] = *entry;
    environ = kept;
    dup2(document, STDIN_FILENO);
    dup2(ready, STDOUT_FILENO);
    dup2(ready, STDERR_FILENO); /* Python reports there what is missing */
    signal(SIGPIPE, SIG_DFL);
    _exit(run_python(3, (char *[]){self, "daemon-process", "--detached", NULL}));
}

/* Start the daemon's Python while the front end's starts. That decides whether a daemon is needed, sends it what it is
 * to know, and waits until it listens (daemon_launcher.start); without anything sent, it exits. */
static void start_daemon(char *self)
{
    int document[2], ready[2];
    char variable[64];
    pid_t child;
    if (pipe(document))
        return;
    if (!pipe(ready)) {
        /* where git's own descriptors are closed, the pipes have their numbers */
        child = document[0] > STDERR_FILENO && ready[0] > STDERR_FILENO ? fork() : -1;
        if (!child) {
            close(document[1]);
            close(ready[0]);
            execute_daemon(self, document[0], ready[1]);
        }
        if (child > 0) {
            waitpid(child, NULL, 0);
            snprintf(variable, sizeof variable, "%ld %d %d", (long)getpid(), document[1], ready[0]);
            setenv(SPAWNED, variable, 1);
            close(document[0]);
            close(ready[1]);
            return;
        }
        close(ready[0]);
        close(ready[1]);
    }
    close(document[0]);
    close(document[1]);
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    enum outcome outcome;
    const struct token *token = find_token();
    unsetenv(RELAYED);
    unsetenv(SPAWNED);
    if (argc == 2 && (!strcmp(argv[1], "get") || !strcmp(argv[1], "store") || !strcmp(argv[1], "erase"))) {
        forbid_dumps();
        if (!needs_fallback() &&
            (token ? strcmp(argv[1], "erase") != 0 : find_socket(&address, false) && is_private(&address))) {
            signal(SIGPIPE, SIG_IGN);
            read_request(argv[1]);
            outcome = token ? answer_from_environment(argv[1], token) : ask_daemon(argv[1], &address);
            if (outcome == ABSENT && find_socket(&address, true))
                outcome = ask_daemon(argv[1], &address);
            if (outcome == ANSWERED && !strcmp(argv[1], "get"))
                write_all(STDOUT_FILENO, reply, reply_bytes - 1); /* without the blank line, which is not git's */
            if (outcome == ABSENT && !strcmp(argv[1], "get") && is_plain_request(argv[1], ""))
                start_daemon(argv[0]);
            if (outcome != ANSWERED)
                give_back_request();
            explicit_bzero(message, message_bytes);
            explicit_bzero(reply, reply_bytes);
            if (outcome == ANSWERED)
                return 0;
            setenv(RELAYED, words[outcome], 1);
            signal(SIGPIPE, SIG_DFL);
        }
    }
    return argc > 0 ? run_python(argc, argv) : 1;
}
