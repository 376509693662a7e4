#include "openssl.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

struct openssl ossl;

static const char LIBRARY[] = "libcrypto.so.3";
static char missing[256];

const char *openssl_load(void)
{
    if (ossl.aes256gcm != NULL)
        return NULL;
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *why = dlerror();
        snprintf(missing, sizeof missing, "OpenSSL 3 is not there: %s", why != NULL ? why : LIBRARY);
        return missing;
    }
    const struct {
        const char *name;
        void *place;
    } wanted[] = {
#define WANTED(function) {#function, &ossl.function}
        WANTED(EVP_MD_fetch),        WANTED(EVP_MD_CTX_new),      WANTED(EVP_MD_CTX_free),     WANTED(EVP_DigestInit_ex2),
        WANTED(EVP_DigestUpdate),    WANTED(EVP_DigestFinal_ex),  WANTED(EVP_CIPHER_fetch),    WANTED(EVP_CIPHER_CTX_new),
        WANTED(EVP_CIPHER_CTX_free), WANTED(EVP_EncryptInit_ex2), WANTED(EVP_EncryptUpdate),   WANTED(EVP_EncryptFinal_ex),
        WANTED(EVP_CIPHER_CTX_ctrl), WANTED(OPENSSL_cleanse),     WANTED(ERR_clear_error),
#undef WANTED
    };
    for (size_t each = 0; each < sizeof wanted / sizeof wanted[0]; each++) {
        void *found = dlsym(library, wanted[each].name);
        if (found == NULL) {
            snprintf(missing, sizeof missing, "%s has no %s", LIBRARY, wanted[each].name);
            return missing;
        }
        /* C knows no conversion of a function's address; POSIX promises that the bytes are the same. */
        memcpy(wanted[each].place, &found, sizeof found);
    }
    ossl.sha256 = ossl.EVP_MD_fetch(NULL, "SHA256", NULL);
    if (ossl.sha256 == NULL)
        return "OpenSSL offers no SHA-256";
    ossl.aes256gcm = ossl.EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (ossl.aes256gcm == NULL)
        return "OpenSSL offers no AES-256-GCM";
    return NULL;
}
