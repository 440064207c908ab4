/* A load on a credential daemon's socket: CLIENTS connections at a time until REQUESTS are answered, one thread, epoll.
 *
 *     load SOCKET CLIENTS REQUESTS STALLED PATIENCE_MS <REQUEST
 *
 * STALLED further peers connect first, send half a line and then nothing. Prints one JSON object. An answer counts if it
 * has a password; what takes longer than PATIENCE_MS has failed. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 1024
#define MAX_REPLY_BYTES 16384

struct client {
    int fd; /* -1: not connected yet */
    double begun;
    size_t got;
    char reply[MAX_REPLY_BYTES];
};

static struct client clients[MAX_CLIENTS];
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char request[65536];
static size_t request_bytes;
static double *taken;
static long started, answered, failed, wanted;
static int poller;

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* Connect and send; nothing happens yet where the queue of the listener is full. */
static void begin(struct client *client)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return;
    }
    send(fd, request, request_bytes, MSG_NOSIGNAL); /* if it does not take all of it, the answer will be missing */
    shutdown(fd, SHUT_WR);
    client->fd = fd;
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = client});
}

static void next(struct client *client)
{
    client->fd = -1;
    client->got = 0;
    client->begun = 0;
    if (started < wanted) {
        started++;
        client->begun = now_ms();
        begin(client);
    }
}

static void end(struct client *client)
{
    client->reply[client->got] = 0;
    if (strstr(client->reply, "password="))
        taken[answered++] = now_ms() - client->begun;
    else
        failed++;
    if (client->fd >= 0)
        close(client->fd);
    next(client);
}

static void receive(struct client *client)
{
    ssize_t got;

    while ((got = recv(client->fd, client->reply + client->got, MAX_REPLY_BYTES - 1 - client->got, 0)) > 0)
        client->got += (size_t)got;
    if (!got || errno != EAGAIN)
        end(client);
}

static int ascending(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;

    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    struct epoll_event events[MAX_CLIENTS];
    int count = argc > 5 ? atoi(argv[2]) : 0;
    double patience, begun, looked, now;

    if (count < 1 || count > MAX_CLIENTS || strlen(argv[1]) >= sizeof address.sun_path)
        return 2;
    strcpy(address.sun_path, argv[1]);
    wanted = atol(argv[3]);
    patience = atof(argv[5]);
    taken = calloc((size_t)wanted + 1, sizeof *taken);
    request_bytes = fread(request, 1, sizeof request, stdin);
    poller = epoll_create1(0);
    for (int i = atoi(argv[4]); i > 0; i--) {
        int stalled = socket(AF_UNIX, SOCK_STREAM, 0);

        if (connect(stalled, (struct sockaddr *)&address, sizeof address) || write(stalled, "action=g", 8) != 8)
            return 3;
    }
    begun = looked = now_ms();
    for (int i = 0; i < count; i++)
        next(&clients[i]);
    while (answered + failed < wanted) {
        int ready = epoll_wait(poller, events, MAX_CLIENTS, 1);

        for (int i = 0; i < ready; i++)
            receive(events[i].data.ptr);
        now = now_ms();
        if (now - looked < 1)
            continue;
        looked = now;
        for (int i = 0; i < count; i++) {
            if (clients[i].begun && clients[i].fd < 0)
                begin(&clients[i]);
            if (clients[i].begun && now - clients[i].begun > patience) {
                clients[i].got = 0;
                end(&clients[i]);
            }
        }
    }
    now = now_ms();
    qsort(taken, (size_t)answered, sizeof *taken, ascending);
    printf("{\"answered\": %ld, \"failed\": %ld, \"seconds\": %.4f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
           answered, failed, (now - begun) / 1e3, answered ? taken[answered / 2] : 0.0,
           answered ? taken[answered * 99 / 100] : 0.0, answered ? taken[answered - 1] : 0.0);
    return 0;
}
