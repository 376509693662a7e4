/* What is used of OpenSSL 3: AES-256-GCM and SHA-256 by EVP, found in the system's libcrypto at import, so that no header of it is needed to build. */
#ifndef GATEBOOK_OPENSSL_H
#define GATEBOOK_OPENSSL_H

#include <stddef.h>

typedef struct evp_md_st EVP_MD;
typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;

#define EVP_CTRL_AEAD_GET_TAG 0x10 /* openssl/evp.h */

/* Prototypes as in openssl/evp.h, err.h and crypto.h of 3.0; OSSL_LIB_CTX and OSSL_PARAM are always NULL here. */
struct openssl {
    EVP_MD *(*EVP_MD_fetch)(void *, const char *, const char *);
    EVP_MD_CTX *(*EVP_MD_CTX_new)(void);
    void (*EVP_MD_CTX_free)(EVP_MD_CTX *);
    int (*EVP_DigestInit_ex2)(EVP_MD_CTX *, const EVP_MD *, const void *);
    int (*EVP_DigestUpdate)(EVP_MD_CTX *, const void *, size_t);
    int (*EVP_DigestFinal_ex)(EVP_MD_CTX *, unsigned char *, unsigned int *);
    EVP_CIPHER *(*EVP_CIPHER_fetch)(void *, const char *, const char *);
    EVP_CIPHER_CTX *(*EVP_CIPHER_CTX_new)(void);
    void (*EVP_CIPHER_CTX_free)(EVP_CIPHER_CTX *);
    int (*EVP_EncryptInit_ex2)(EVP_CIPHER_CTX *, const EVP_CIPHER *, const unsigned char *, const unsigned char *, const void *);
    int (*EVP_EncryptUpdate)(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int);
    int (*EVP_EncryptFinal_ex)(EVP_CIPHER_CTX *, unsigned char *, int *);
    int (*EVP_CIPHER_CTX_ctrl)(EVP_CIPHER_CTX *, int, int, void *);
    void (*OPENSSL_cleanse)(void *, size_t);
    void (*ERR_clear_error)(void);
    EVP_MD *sha256;         /* fetched once, for the life of the process */
    EVP_CIPHER *aes256gcm;
};

extern struct openssl ossl;

/* NULL, or in words what is missing. */
const char *openssl_load(void);

#endif
