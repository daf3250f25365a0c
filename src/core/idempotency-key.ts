/**
 * Reads an `Idempotency-Key` field value: quoted or bare, 1 to 255 visible ASCII characters without quote and comma;
 * `"abc"` and `abc` are the same key. Returns undefined when malformed, which includes a field sent twice, since Node
 * joins the two with a comma (draft-ietf-httpapi-idempotency-key-header §2.1).
 */
export function readIdempotencyKey(fieldValue: string): string | undefined {
  const match = /^(?:"([^"]*)"|([^"]*))$/.exec(fieldValue)
  const key = match?.[1] ?? match?.[2]
  return key !== undefined && /^[\x21\x23-\x2b\x2d-\x7e]{1,255}$/.test(key) ? key : undefined
}
