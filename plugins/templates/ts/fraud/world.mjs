// The world onhand:fraud@1.0.0: its names, and its bytes as wit-component writes them; change nothing.

export const section = "component-type:onhand:fraud@1.0.0";
export const names = {
  component_init: "onhand:fraud/policy@1.0.0#init",
  component_batch: "onhand:fraud/policy@1.0.0#score-batch",
  component_post: "cabi_post_onhand:fraud/policy@1.0.0#score-batch",
};
export const bytes = Buffer.from([
  "AGFzbQ0AAQAAGRZ3aXQtY29tcG9uZW50LWVuY29kaW5nBAAHpAQBQQIBQQQBQgIBQAIFbGV2ZWx5B21lc3NhZ2VzAQAE",
  "AANsb2cBAAMAFm9uaGFuZDpmcmF1ZC9sb2dAMS4wLjAFAAFCDgFyEghjdXN0b21lcncHYWRkcmVzc3cGZGV2aWNldwNu",
  "b3d3CGN1cnJlbmN5eQV0b3RhbHgFdW5pdHN5EWN1c3RvbWVyLWFnZS1kYXlzeQtkaXN0YW5jZS1rbXkUY3VzdG9tZXIt",
  "b3JkZXJzLWhvdXJ5E2N1c3RvbWVyLW9yZGVycy1kYXl5E2N1c3RvbWVyLWFtb3VudC1kYXl4E2FkZHJlc3Mtb3JkZXJz",
  "LWhvdXJ5FWFkZHJlc3MtY3VzdG9tZXJzLWRheXkSZGV2aWNlLW9yZGVycy1ob3VyeRRkZXZpY2UtY3VzdG9tZXJzLWRh",
  "eXkKZmlyc3QtbGluZXkKbGluZS1jb3VudHkEAAZoZWFkZXIDAAABcgMDc2t1dwhxdWFudGl0eXkEdW5pdHgEAARsaW5l",
  "AwACAXIDBnBvaW50c3kHdmVyZGljdHkEY29kZXkEAAVzY29yZQMABAFqAAFzAUABBmNvbmZpZ3MABgQABGluaXQBBwFw",
  "AQFwAwFwBQFAAgdoZWFkZXJzCAVsaW5lcwkACgQAC3Njb3JlLWJhdGNoAQsEABlvbmhhbmQ6ZnJhdWQvcG9saWN5QDEu",
  "MC4wBQEEABhvbmhhbmQ6ZnJhdWQvZnJhdWRAMS4wLjAEAAsLAQAFZnJhdWQDAAAALwlwcm9kdWNlcnMBDHByb2Nlc3Nl",
  "ZC1ieQENd2l0LWNvbXBvbmVudAcwLjI1NC4y",
].join(""), "base64");
