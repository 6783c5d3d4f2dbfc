/**
 * Every bound that a peer can run into, with its reason. What a peer announces
 * is compared with one of these before anything is allocated for it.
 */

import assert from 'node:assert/strict'
import { NBD_MAX_STRING } from './constants.ts'

const KiB = 1024
const MiB = 1024 * KiB

/**
 * An option's data up to here are kept and looked at. The longest sensible one
 * is GO with a name of 4,096 bytes and all 65,535 information requests.
 */
export const optionBytesMax = 256 * KiB

/** Longer data are skipped in step and the option refused, up to here; beyond it the client is not speaking NBD (as in qemu). */
export const optionBytesSkippedMax = 32 * MiB

/** Options that a connection may send before it has to choose an export (as in nbdkit). */
export const optionsMax = 32

/** LIST admits so many further options for each export it named: `qemu-nbd --list` then asks INFO and LIST_META_CONTEXT of each. */
export const optionsPerListedExport = 2

/** From the accepted socket to the choice of an export, milliseconds (as qemu since CVE-2024-7409). */
export const handshakeMillisMax = 10_000

/** Replies to options that wait to leave, bytes; beyond it no further option is read until the client has taken some. */
export const optionReplyBytesWaitingMax = 64 * KiB

/** Error texts: nbd-client ignores those of 4,096 bytes and more, and older ones had 1,024 bytes of room. */
export const errorTextBytesMax = 900

/** Names and descriptions in LIST: nbd-client reads each into 1,024 bytes. */
export const listDescriptionBytesMax = 1000

/** Advertised as the longest READ and WRITE; the value of the document, and the Linux kernel's limit. */
export const payloadBytesAdvertised = 32 * MiB

/** Nevertheless accepted: above the advertised limit nbdcopy and others meet servers without one. A WRITE above this is a disconnection. */
export const payloadBytesMax = 64 * MiB

/**
 * Requests of one connection that were taken and whose replies have not left.
 * The Linux kernel keeps 128 in flight, nbdcopy 64; more than that only keeps
 * memory. A client beyond it is not read from until replies have left.
 */
export const requestsInFlightMax = 256

/** Payload of those requests, bytes: what a client that never reads its replies can cost. One longer request is admitted alone. */
export const bytesInFlightMax = 32 * MiB

/** The block sizes of the document: a smallest one of 1 because clients do send odd offsets without asking. */
export const blockBytesMin = 1
export const blockBytesPreferredMin = 512

assert(optionBytesMax >= 4 + NBD_MAX_STRING + 2 + 2 * 0xffff, 'the longest GO fits')
assert(optionBytesMax <= optionBytesSkippedMax)
assert(payloadBytesAdvertised <= payloadBytesMax)
assert(payloadBytesAdvertised <= bytesInFlightMax, 'an advertised length need not wait for all others')
