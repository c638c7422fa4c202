const http = require("http");
const os = require("os");

http.createServer((request, response) => {
    response.end(`hello from Node.js on ${os.hostname()}, ${Object.keys(os.networkInterfaces()).join(" ")}\n`);
}).listen(Number(process.argv[2]));
