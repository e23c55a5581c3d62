/*
 * Counts the instructions of a guest process: a plugin for qemu-user. The interface is QEMU's include/qemu/qemu-plugin.h, of which
 * distributions ship no copy; only what is called is declared here. VERSION is what this QEMU wants: 1 before QEMU 9, else 2.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
typedef void (*translated)(plugin_id, struct qemu_plugin_tb *);
typedef void (*executed)(unsigned int, void *);
typedef void (*ended)(plugin_id, void *);

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translated);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, executed, int, void *);
extern void qemu_plugin_register_atexit_cb(plugin_id, ended, void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

#define EXPORTED __attribute__((visibility("default")))
#define NO_REGISTERS 0
/* A thread each; more than these share. */
#define THREADS 256

EXPORTED int qemu_plugin_version = VERSION;

static struct {
    uint64_t count;
    uint8_t apart[56];
} counted[THREADS];
static char out[4096];

static void on_executed(unsigned int thread, void *instructions) {
    counted[thread % THREADS].count += (uintptr_t)instructions;
}

static void on_translated(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    void *instructions = (void *)(uintptr_t)qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_cb(block, on_executed, NO_REGISTERS, instructions);
}

static void on_end(plugin_id id, void *nothing) {
    (void)id;
    (void)nothing;
    uint64_t sum = 0;
    for (int thread = 0; thread < THREADS; thread++) {
        sum += counted[thread].count;
    }
    FILE *file = fopen(out, "w");
    if (file) {
        fprintf(file, "%" PRIu64 "\n", sum);
        fclose(file);
    }
}

/* `-plugin FILE,out=PATH` */
EXPORTED int qemu_plugin_install(plugin_id id, const void *about, int count, char **options) {
    (void)about;
    for (int at = 0; at < count; at++) {
        if (strncmp(options[at], "out=", 4) == 0) {
            snprintf(out, sizeof out, "%s", options[at] + 4);
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}
