/* Included before every C file that mypyc makes: a multiplication of `int`s that survives signals.
 *
 * mypyc takes CPython's own multiplication as soon as one factor is negative or beyond 2**30 (about a second, in
 * nanoseconds), and takes any failure of it for a lack of memory: it aborts the process. But CPython looks for signals
 * while it multiplies, and so a handler that raises (Ctrl-C) would end the program there.
 *
 * Here a product that fits is computed without CPython. For one that does not, what a handler raised is put off: the
 * thread raises it when it is next in interpreted code.
 */

#ifndef RUMPKIT_BUILD_NATIVE_H
#define RUMPKIT_BUILD_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <CPy.h>

CPy_NOINLINE
static CPyTagged rumpkit_multiply_long(CPyTagged left, CPyTagged right) {
    PyObject *left_object = CPyTagged_AsObject(left);
    PyObject *right_object = CPyTagged_AsObject(right);
    PyObject *product;
    while ((product = PyNumber_Multiply(left_object, right_object)) == NULL) {
        PyObject *type, *value, *traceback;
        if (PyErr_ExceptionMatches(PyExc_MemoryError)) {
            CPyError_OutOfMemory();
        }
        PyErr_Fetch(&type, &value, &traceback);
        PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), type);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
    Py_DECREF(left_object);
    Py_DECREF(right_object);
    return CPyTagged_StealFromObject(product);
}

static inline CPyTagged rumpkit_multiply(CPyTagged left, CPyTagged right) {
    Py_ssize_t product;
    /* A short int n is held as 2 * n: the product of one such with a plain number is held as it should be. */
    if (CPyTagged_CheckShort(left) && CPyTagged_CheckShort(right) &&
        !__builtin_mul_overflow((Py_ssize_t)left, CPyTagged_ShortAsSsize_t(right), &product)) {
        return (CPyTagged)product;
    }
    return rumpkit_multiply_long(left, right);
}

#define CPyTagged_Multiply rumpkit_multiply

#endif
