/* SpoolBase: stores plain metrics in the open segment of a spool, the system call included, in one call from Python.

   The bytes are those of fedtrack.tracking.records.encode and fedtrack.spool.frames.frame; tests compare them.

   The interpreter's lock is held all the time, also during the write. So a call is atomic for every other thread, and
   for signal handlers, which run between calls only: no further lock is needed, and no number can be lost between the
   claim and the write. If another thread computes in Python, a release of the lock for so short a time disturbs the
   way in which Python shares it: one of the two threads then waits for many milliseconds, see
   benchmarks/busy_thread.py. The write itself copies a few bytes into the page cache.

   All metrics that are not plain, and all errors, are left to Python: the call returns False and has stored nothing.

   Longer than other files here: it has the state, the calls, and the type that shows both to Python. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <structmember.h>

#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "_encode.h"
#include "_plain.h"

#ifdef Py_GIL_DISABLED
#error "SpoolBase needs the interpreter's lock; without it fedtrack goes on in Python."
#endif

/* The interface number on which Python and C must agree; core refuses another one. */
#define API 1

#define FRAME_SIZE 18
/* A site name of up to 255 bytes, and three more. */
#define MAX_PREFIX 259
/* Array, kind, time, key, value, step, n: each at its longest. */
#define MAX_FRAME (FRAME_SIZE + MAX_PREFIX + 1 + 1 + 9 + 2 + MAX_KEY + 9 + 9 + 1)
/* As fedtrack.spool.spool writes several records: more are written in pieces, by Python. */
#define MAX_WRITE (256 * 1024)
/* The most metrics of a call whose frames are built on the stack. */
#define FEW 8

typedef struct {
    PyObject_HEAD
    int fd;
    unsigned int salt;
    long long next_seq;
    long long segment_size;
    long long plain_until;
    char writing;
    char torn;
    Py_ssize_t prefix_size;
    uint8_t prefix[MAX_PREFIX];
} SpoolBase;

/* The record [1, time, key, value, step, n], behind the prefix; a plain metric has no n. */
static uint8_t *
put_payload(SpoolBase *self, uint8_t *out, long long time, const char *key, size_t size, double value, Step step)
{
    memcpy(out, self->prefix, (size_t)self->prefix_size);
    out += self->prefix_size;
    *out++ = 0x96;
    *out++ = 1;
    out = put_integer(out, time);
    out = put_text(out, key, size);
    out = put_double(out, value);
    if (step.is_none)
        *out++ = 0xC0;
    else
        out = put_integer(out, step.value);
    *out++ = 0xC0;
    return out;
}

static uint8_t *
put_frame(SpoolBase *self, uint8_t *out, long long seq, long long time, const char *key, size_t size, double value,
          Step step)
{
    uint8_t *end = put_payload(self, out + FRAME_SIZE, time, key, size, value, step);
    uint32_t crc;

    out[0] = 0xF5;
    out[1] = 0xD7;
    put_little(out + 2, (uint64_t)(end - out - FRAME_SIZE), 4);
    put_little(out + 10, (uint64_t)seq, 8);
    crc = crc32_of(self->salt, out + 2, 4);
    crc = crc32_of(crc, out + 10, (size_t)(end - out - 10));
    put_little(out + 6, crc, 4);
    return end;
}

static long long
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return (long long)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Whether a call of Python is active, or this segment needs Python for a further frame. */
static int
is_closed(SpoolBase *self, Py_ssize_t size)
{
    return self->writing || self->segment_size + size > self->plain_until;
}

/* A full disk took only a part: remove it, or let Python continue in another file. */
static void
take_back(SpoolBase *self, ssize_t written)
{
    off_t end = lseek(self->fd, 0, SEEK_CUR);

    if (end < 0 || ftruncate(self->fd, end - written) != 0) {
        self->torn = 1;
        self->plain_until = 0;
    }
}

/* Write frames that take the numbers from next_seq on. */
static PyObject *
store(SpoolBase *self, const uint8_t *data, size_t size, Py_ssize_t count)
{
    ssize_t written = write(self->fd, data, size);

    if (written != (ssize_t)size) {
        if (written > 0)
            take_back(self, written);
        Py_RETURN_FALSE;
    }
    self->segment_size += (long long)size;
    self->next_seq += count;
    Py_RETURN_TRUE;
}

static PyObject *
append_metric(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    SpoolBase *self = (SpoolBase *)object;
    uint8_t data[MAX_FRAME];
    const char *key;
    Py_ssize_t size;
    double value;
    Step step;

    if (count != 3) {
        PyErr_Format(PyExc_TypeError, "append_metric() takes key, value and step, got %zd arguments", count);
        return NULL;
    }
    if (plain_key(arguments[0], &key, &size) && plain_value(arguments[1], &value) && plain_step(arguments[2], &step)) {
        uint8_t *end = put_frame(self, data, self->next_seq, now(), key, (size_t)size, value, step);
        if (!is_closed(self, end - data))
            return store(self, data, (size_t)(end - data), 1);
    }
    Py_RETURN_FALSE;
}

/* The frames of all items in `data`, which has room for MAX_WRITE and one more; NULL if one is not plain. */
static uint8_t *
put_items(SpoolBase *self, uint8_t *data, PyObject *metrics, long long time, Step step)
{
    const uint8_t *limit = data + MAX_WRITE;
    PyObject *name, *number;
    Py_ssize_t position = 0, size;
    long long seq = self->next_seq;
    const char *key;
    double value;

    while (PyDict_Next(metrics, &position, &name, &number)) {
        if (data > limit || !plain_key(name, &key, &size) || !plain_value(number, &value))
            return NULL;
        data = put_frame(self, data, seq++, time, key, (size_t)size, value, step);
    }
    return data > limit ? NULL : data;
}

static PyObject *
store_items(SpoolBase *self, uint8_t *data, PyObject *metrics, long long time, Step step)
{
    uint8_t *end = put_items(self, data, metrics, time, step);

    if (end == NULL || is_closed(self, end - data))
        Py_RETURN_FALSE;
    return store(self, data, (size_t)(end - data), PyDict_Size(metrics));
}

static PyObject *
append_metrics(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    SpoolBase *self = (SpoolBase *)object;
    uint8_t few[FEW * MAX_FRAME], *many;
    long long time;
    Py_ssize_t items;
    PyObject *result;
    Step step;

    if (count != 3) {
        PyErr_Format(PyExc_TypeError, "append_metrics() takes metrics, step and time, got %zd arguments", count);
        return NULL;
    }
    if (is_closed(self, 0) || !PyDict_CheckExact(arguments[0]) || !plain_step(arguments[1], &step))
        Py_RETURN_FALSE;
    if (arguments[2] == Py_None)
        time = now();
    else if (!plain_integer(arguments[2], &time) || time < 0)
        Py_RETURN_FALSE;
    items = PyDict_Size(arguments[0]);
    if (items == 0)
        Py_RETURN_FALSE;
    if (items <= FEW)
        return store_items(self, few, arguments[0], time, step);
    many = PyMem_Malloc(MAX_WRITE + MAX_FRAME);
    if (many == NULL)
        Py_RETURN_FALSE;
    result = store_items(self, many, arguments[0], time, step);
    PyMem_Free(many);
    return result;
}

static PyObject *
get_prefix(PyObject *object, void *closure)
{
    SpoolBase *self = (SpoolBase *)object;

    return PyBytes_FromStringAndSize((const char *)self->prefix, self->prefix_size);
}

static int
set_prefix(PyObject *object, PyObject *value, void *closure)
{
    SpoolBase *self = (SpoolBase *)object;
    char *bytes;
    Py_ssize_t size;

    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "the prefix cannot be deleted");
        return -1;
    }
    if (PyBytes_AsStringAndSize(value, &bytes, &size) < 0)
        return -1;
    if (size > MAX_PREFIX) {
        PyErr_Format(PyExc_ValueError, "the prefix has %zd bytes, more than %d", size, MAX_PREFIX);
        return -1;
    }
    memcpy(self->prefix, bytes, (size_t)size);
    self->prefix_size = size;
    return 0;
}

static PyObject *
new_base(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    SpoolBase *self = (SpoolBase *)allocate(type, 0);

    if (self != NULL) {
        self->fd = -1;
        self->next_seq = 1;
    }
    return (PyObject *)self;
}

static void
free_base(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

    release(object);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"_fd", T_INT, offsetof(SpoolBase, fd), 0, NULL},
    {"_salt", T_UINT, offsetof(SpoolBase, salt), 0, NULL},
    {"_next_seq", T_LONGLONG, offsetof(SpoolBase, next_seq), 0, NULL},
    {"_segment_size", T_LONGLONG, offsetof(SpoolBase, segment_size), 0, NULL},
    {"_plain_until", T_LONGLONG, offsetof(SpoolBase, plain_until), 0, NULL},
    {"_writing", T_BOOL, offsetof(SpoolBase, writing), 0, NULL},
    {"_torn", T_BOOL, offsetof(SpoolBase, torn), 0, NULL},
    {NULL},
};

static PyGetSetDef properties[] = {
    {"_prefix", get_prefix, set_prefix, NULL, NULL},
    {NULL},
};

static PyMethodDef methods[] = {
    {"append_metric", (PyCFunction)(void (*)(void))append_metric, METH_FASTCALL, NULL},
    {"append_metrics", (PyCFunction)(void (*)(void))append_metrics, METH_FASTCALL, NULL},
    {NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, new_base},
    {Py_tp_dealloc, free_base},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "fedtrack.spool._spool_base.SpoolBase",
    .basicsize = sizeof(SpoolBase),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

static int
execute(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&spec);

    fill_crc_table();
    if (type == NULL || PyModule_AddIntConstant(module, "API", API) < 0)
        return -1;
    if (PyModule_AddObjectRef(module, "SpoolBase", type) < 0) {
        Py_DECREF(type);
        return -1;
    }
    Py_DECREF(type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fedtrack.spool._spool_base",
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__spool_base(void)
{
    return PyModuleDef_Init(&module);
}
