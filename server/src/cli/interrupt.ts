/**
 * The first Ctrl+C ends the work in an orderly way, a second one the process. The answer takes the
 * listener away again.
 */
export function onInterrupt(act: () => void): () => void {
  const listener = () => {
    process.removeListener("SIGINT", listener);
    act();
  };
  process.on("SIGINT", listener);
  return () => process.removeListener("SIGINT", listener);
}
