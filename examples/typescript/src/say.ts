/** Writes one JSON object a line. */
export function say(event: string, more: object): void {
  console.log(JSON.stringify({ event, ...more }));
}
