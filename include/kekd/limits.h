/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes and bounds shared by all layers. All in bytes unless a name says otherwise.
 */
#ifndef KEKD_LIMITS_H
#define KEKD_LIMITS_H

#include <stdint.h>

/* AES, FIPS 197 */
#define KEKD_AES_BLOCK   16
#define KEKD_AES_KEY_MAX 32

/* GCM as NIST SP 800-38D recommends it: 96-bit nonce, 128-bit tag */
#define KEKD_GCM_NONCE 12
#define KEKD_GCM_TAG   16

/*
 * KMS v2, k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2: ciphertext and key_id hold 1
 * to 1024 bytes. The largest legal message is about 34 kB (annotations); more than
 * KEKD_GRPC_MESSAGE_MAX is refused before it is read.
 */
#define KEKD_KMS_CIPHERTEXT_MAX 1024
#define KEKD_KMS_KEY_ID_MAX     1024
#define KEKD_GRPC_MESSAGE_MAX   (64 * 1024)

/* Locked memory of one connection: its two buffers, and what a slab of them has over */
#define KEKD_CONNECTION_LOCKED (36 * 1024)

/*
 * Largest value of a chain. etcd takes requests of 1.5 MiB unless it was told to take more, and kube-apiserver
 * takes objects of 3 MiB at most (k8s.io/apiserver, pkg/server/config.go, MaxRequestBodyBytes).
 */
#define KEKD_VALUE_MAX (3 * 1024 * 1024)

/*
 * One AF_ALG operation. With default socket buffers the kernel takes 212 992 bytes at once and
 * waits for ever on more (kmod-notes/af_alg.md); 64 KiB stays far below, and larger runs gain
 * nothing (4096 blocks amortise the crossing completely).
 */
#define KEKD_RUN_BLOCKS_MAX 4096

/* Server processes of one daemon */
#define KEKD_WORKERS_MAX 16

/*
 * Messages under one key: with random nonces of 96 bits 2^32 is its end (NIST SP 800-38D §8.3). So that no member of a
 * keyset has to ask the others first, each keeps to a share, a 64th of it; members that are gone have the shares that
 * those who are there leave.
 */
#define KEKD_KEY_LIMIT    UINT64_C(0x100000000)
#define KEKD_KEY_MESSAGES (KEKD_KEY_LIMIT / 64)

/* Keys */
#define KEKD_KEY_ID       16 /* random 128-bit id of a KEK */
#define KEKD_KEY_ID_HEX   (2 * KEKD_KEY_ID)
#define KEKD_KEY_NAME_MAX 64  /* names that kekd makes; imported ones may be longer */
#define KEKD_LABEL_MAX    256 /* NAME part of k8s:enc:…:v1:NAME: */
#define KEKD_KEYS_MAX     1024

#endif
