// Preloaded into a server (node --import): on SIGUSR2, performance.now() begins to run a hundred times as fast. So a
// bound on waiting is reached once a test has seen what goes on meanwhile, and no test sleeps until it is.
const real = performance.now.bind(performance);
let [since, shown, rate] = [real(), real(), 1];

performance.now = () => shown + (real() - since) * rate;

process.on("SIGUSR2", () => {
  [shown, since, rate] = [performance.now(), real(), 100];
});
