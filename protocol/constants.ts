/**
 * The numbers of the NBD protocol, in the spelling of its document
 * (`doc/proto.md` of NetworkBlockDevice/nbd): what is `NBD_OPT_GO` there is
 * `NBD_OPT.GO` here. Everything on the wire is big-endian.
 */

/** The registered port of NBD. */
export const NBD_DEFAULT_PORT = 10809

/** `NBDMAGIC`, in two halves, because a u64 is not a safe number. */
export const NBDMAGIC_HIGH = 0x4e42444d
export const NBDMAGIC_LOW = 0x41474943
/** `IHAVEOPT`: second word of the server's greeting, first of each option. */
export const IHAVEOPT_HIGH = 0x49484156
export const IHAVEOPT_LOW = 0x454f5054
/** First word of each reply to an option, 0x0003e889045565a9. */
export const NBD_REP_MAGIC_HIGH = 0x0003e889
export const NBD_REP_MAGIC_LOW = 0x045565a9

export const NBD_REQUEST_MAGIC = 0x25609513
export const NBD_SIMPLE_REPLY_MAGIC = 0x67446698

/** Magic, flags. */
export const NBD_GREETING_BYTES = 18
export const NBD_CLIENT_FLAGS_BYTES = 4
/** Magic, option, length. */
export const NBD_OPTION_HEADER_BYTES = 16
/** Magic, option, reply type, length. */
export const NBD_OPTION_REPLY_HEADER_BYTES = 20
/** Magic, flags, type, cookie, offset, length. */
export const NBD_REQUEST_BYTES = 28
/** Magic, error, cookie. */
export const NBD_SIMPLE_REPLY_BYTES = 16
/** Zeroes after the answer to EXPORT_NAME, unless C_NO_ZEROES was said. */
export const NBD_EXPORT_NAME_ZEROES = 124
/** Longest string in the protocol: an export's name, a description, a query. */
export const NBD_MAX_STRING = 4096

/** Handshake flags of the server. */
export const NBD_FLAG_FIXED_NEWSTYLE = 1
export const NBD_FLAG_NO_ZEROES = 2
/** Their echoes from the client. */
export const NBD_FLAG_C_FIXED_NEWSTYLE = 1
export const NBD_FLAG_C_NO_ZEROES = 2

export const NBD_OPT = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  /** Withdrawn. */
  PEEK_EXPORT: 4,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
  EXTENDED_HEADERS: 11,
} as const

export const NBD_REP = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: 0x80000001,
  ERR_POLICY: 0x80000002,
  ERR_INVALID: 0x80000003,
  ERR_PLATFORM: 0x80000004,
  ERR_TLS_REQD: 0x80000005,
  ERR_UNKNOWN: 0x80000006,
  ERR_SHUTDOWN: 0x80000007,
  ERR_BLOCK_SIZE_REQD: 0x80000008,
  ERR_TOO_BIG: 0x80000009,
  ERR_EXT_HEADER_REQD: 0x8000000a,
} as const

/** Reply types from here on say that the option was refused. */
export const NBD_REP_FLAG_ERROR = 0x80000000

export const NBD_INFO = {
  EXPORT: 0,
  NAME: 1,
  DESCRIPTION: 2,
  BLOCK_SIZE: 3,
} as const

/** Transmission flags: what an export can do. */
export const NBD_FLAG = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  ROTATIONAL: 1 << 4,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_RESIZE: 1 << 9,
  SEND_CACHE: 1 << 10,
  SEND_FAST_ZERO: 1 << 11,
  BLOCK_STATUS_PAYLOAD: 1 << 12,
} as const

export const NBD_CMD = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
  RESIZE: 8,
} as const

export const NBD_CMD_FLAG = {
  FUA: 1 << 0,
  NO_HOLE: 1 << 1,
  DF: 1 << 2,
  REQ_ONE: 1 << 3,
  FAST_ZERO: 1 << 4,
  PAYLOAD_LEN: 1 << 5,
} as const

/** Error numbers of replies. They look like Linux's, on every system. */
export const NBD_ERROR = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const

/** The name of a number in one of the tables above, for people: `nameOf(NBD_CMD, 0)` is `READ`. */
export function nameOf(table: Readonly<Record<string, number>>, value: number): string {
  for (const name in table) if (table[name] === value) return name
  return String(value)
}
