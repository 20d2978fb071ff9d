export async function runDemo(): Promise<number> {
  throw new Error('the demo is not built yet');
}
