-- What does wrk send, and how does it report? POST with a JSON body; one line of JSON at the end.
wrk.method = "POST"
wrk.body = '{"name":"Ann Example","email":"ann@example.com"}'
wrk.headers["content-type"] = "application/json"

function done(summary, latency)
  local e = summary.errors
  print(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "errors": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
