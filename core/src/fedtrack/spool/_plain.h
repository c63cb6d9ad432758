/* What needs no normalising, told from what does: the Python types and ranges that are stored as they are. */

#define MAX_KEY 255

/* A step, or none. */
typedef struct {
    int is_none;
    long long value;
} Step;

/* Whether nothing of the key needs normalising; it points to its UTF-8. */
static int
plain_key(PyObject *object, const char **key, Py_ssize_t *size)
{
    if (!PyUnicode_CheckExact(object))
        return 0;
    *key = PyUnicode_AsUTF8AndSize(object, size);
    if (*key == NULL) { /* a lone surrogate, or no memory: Python says so */
        PyErr_Clear();
        return 0;
    }
    return *size > 0 && *size <= MAX_KEY;
}

static int
plain_value(PyObject *object, double *value)
{
    if (PyFloat_CheckExact(object)) {
        *value = PyFloat_AsDouble(object);
        return 1;
    }
    if (!PyLong_CheckExact(object)) /* a bool is none, and no number */
        return 0;
    *value = PyLong_AsDouble(object);
    if (*value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return 1;
}

static int
plain_integer(PyObject *object, long long *value)
{
    int overflow;

    if (!PyLong_CheckExact(object))
        return 0;
    *value = PyLong_AsLongLongAndOverflow(object, &overflow);
    return !overflow;
}

static int
plain_step(PyObject *object, Step *step)
{
    step->is_none = object == Py_None;
    step->value = 0;
    return step->is_none || plain_integer(object, &step->value);
}
