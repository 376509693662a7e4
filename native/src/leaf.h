/* An entry's canonical JSON, for drafts of nothing but plain ASCII. As `entry.compose` of Gatebook's ledger, byte for byte, or not at all. */
#ifndef GATEBOOK_LEAF_H
#define GATEBOOK_LEAF_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "seal.h"

enum { MOST_LEAF = 8192, CHANCE_BYTES = 10, MOST_PAYLOADS = 4 };

/* Where the members of Gatebook's structs lie in their objects. */
enum draft_member {
    D_EVENT, D_OK, D_REASON, D_WHO, D_ORIGIN, D_RESOURCE, D_CALL, D_SESSION, D_POLICY, D_CREDENTIAL, D_ASKED, D_FINDINGS, D_PAYLOADS, D_DETAIL,
};
enum who_member { W_ACR, W_ACTING_FOR, W_AGENT, W_AMR, W_AUTH_TIME, W_DECLARED, W_ISS, W_KIND, W_LOGIN, W_SUB };
enum origin_member { O_CLIENT, O_IP };
enum resource_member { R_KIND, R_METHOD, R_NAME, R_SERVER };
enum policy_member { P_CONFIG, P_DECISION, P_RULE, P_SNAPSHOT };
enum asked_member { A_FP, A_ID, A_KID, A_SHAPE };
enum payload_member { B_PART, B_BODY };
enum finding_member { F_DETECTOR, F_ACTION };
enum clocked_member { C_OFF, C_OK, C_SRC };
enum { MOST_MEMBERS = 14 };

enum struct_name { DRAFT, WHO, ORIGIN, RESOURCE, POLICY, ASKED, PAYLOAD, FINDING, CLOCKED, STRUCTS };

struct members {
    PyTypeObject *type; /* owned */
    Py_ssize_t at[MOST_MEMBERS];
};

/* The classes in the order of `struct_name`; 0, or -1 with an exception: they are not what this was written for. */
int members_load(PyObject *classes, struct members *all);
void members_clear(struct members *all);

/* The member, borrowed; NULL where it was never set. `object` is of the struct's own class, which the caller has compared. */
static inline PyObject *member(const struct members *of, PyObject *object, int which)
{
    return *(PyObject **)((char *)object + of->at[which]);
}

/* What is the same in all entries of a writer's epoch, as JSON: it begins behind `t`'s value. */
struct author {
    char writer[MOST_NAME], epoch[MOST_NAME];
    size_t writer_bytes, epoch_bytes;
    int development;
};

struct facts {
    int64_t unix_us;
    uint64_t number;
    int64_t count; /* -1: the entry is of no session */
    PyObject *clock;
    const unsigned char *chance;
    const struct data_key *key;  /* NULL without payloads */
    const struct body *bodies;
    struct told *told; /* by leaf_write: places in the leaf */
    size_t payloads;
};

/* The leaf's length; 0: unusual, nothing is to be made of `leaf` (MOST_LEAF bytes). Never an exception. What payloads' digests will be stands
   as zeros: an unusual draft is known before anything is sealed. */
size_t leaf_write(const struct members *all, const struct author *by, PyObject *draft, const struct facts *facts, char *leaf);

#endif
