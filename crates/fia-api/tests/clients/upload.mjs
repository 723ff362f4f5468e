// Uploads bodies with Node's fetch and prints the statuses of the responses, a line each.
//
// usage: node upload.mjs URL BYTES...

const [url, ...sizes] = process.argv.slice(2);
for (const size of sizes) {
  const response = await fetch(url, {
    method: "PUT",
    headers: { "Content-Type": "application/json" },
    body: "1".repeat(Number(size)),
  });
  console.log(response.status);
}
