// Lines for the host's log. Natively they go to standard error.

let write = (level, message) => console.error(`${level}: ${message}`);

/** Sends lines elsewhere: to the host, in a component. */
export const logTo = (to) => {
  write = to;
};

/** Never log a record's values. Lines past the host's limit are counted and suppressed. */
export const log = {
  debug: (message) => write("debug", message),
  info: (message) => write("info", message),
  warn: (message) => write("warn", message),
  error: (message) => write("error", message),
};
