/* JSON texts that can be read in one way only, into the objects that Python's own parsers make of them; anything else is left to those. */
#ifndef GATEBOOK_READING_H
#define GATEBOOK_READING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

enum { MOST_LEVELS = 64, MOST_DIGITS = 18 };

/* The value of a whole text, a new reference; `levels`: how deep its brackets may go. NULL without an exception: unusual, and whatever else
   went wrong. */
PyObject *plain_value(const char *text, size_t count, int levels);

/* The id (bytes), isError and resultType of a server's result, a new reference to a tuple. NULL without an exception: as above. */
PyObject *result_of(const char *text, size_t count);

/* A request's bytes around its id and its arguments: see gatebook/wire/template.py. */
extern PyTypeObject Template_type;

#endif
