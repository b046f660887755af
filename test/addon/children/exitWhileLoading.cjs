const { open } = require("./common.cjs");

void open(process.argv.slice(2));
setTimeout(() => process.exit(0), 5);
