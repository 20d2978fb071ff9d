/** `+` and what is no printable ASCII as `+XX`, `=` too (RFC 3461 §4); smtp-server undoes it, so it is done again on the way out. */
export function xtext(text: string): string {
  return text.replace(/[^!-*,-<>-~]/g, (char) =>
    [...Buffer.from(char)].map((octet) => `+${octet.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

/** An original recipient (RFC 3461 §4.2), with a non-ASCII address in the form of RFC 6533 §3. */
export function originalRecipient(orcpt: string): string {
  const at = orcpt.indexOf(';');
  const [type, address] = [orcpt.slice(0, at), orcpt.slice(at + 1)];
  if (!/[^\x20-\x7e]/.test(address)) return `${type};${xtext(address)}`;
  const escaped = address.replace(
    /[^!-*,-<>-[\]-~]/gu,
    (char) => `\\x{${char.codePointAt(0)!.toString(16).toUpperCase()}}`,
  );
  return `utf-8;${escaped}`;
}
