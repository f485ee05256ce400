/**
 * A worker that obeys the page's content policy. A worker from a file has only the policy that the
 * server sends with the file; one from a blob inherits the page's.
 */
export function spawn(module) {
  const program = `import ${JSON.stringify(module.href)};`;
  const source = URL.createObjectURL(new Blob([program], {type: "text/javascript"}));
  return new Worker(source, {type: "module"});
}
