// The world onhand:recommend@1.0.0: its names, and its bytes as wit-component writes them; change nothing.

export const section = "component-type:onhand:recommend@1.0.0";
export const names = {
  component_init: "onhand:recommend/policy@1.0.0#init",
  component_batch: "onhand:recommend/policy@1.0.0#recommend-batch",
  component_post: "cabi_post_onhand:recommend/policy@1.0.0#recommend-batch",
};
export const bytes = Buffer.from([
  "AGFzbQ0AAQAAGRZ3aXQtY29tcG9uZW50LWVuY29kaW5nBAAHtAMBQQIBQQQBQgIBQAIFbGV2ZWx5B21lc3NhZ2VzAQAE",
  "AANsb2cBAAMAGm9uaGFuZDpyZWNvbW1lbmQvbG9nQDEuMC4wBQABQg8BcgcIY3VzdG9tZXJ3A25vd3cKZmlyc3QtaXRl",
  "bXkKaXRlbS1jb3VudHkPZmlyc3QtY2FuZGlkYXRleQ9jYW5kaWRhdGUtY291bnR5BWxpbWl0eQQAB3JlcXVlc3QDAAAB",
  "cgYDc2t1dwh0b2dldGhlcnkFYWxvbmV5BWl0ZW1zeQpwb3B1bGFyaXR5eQlhdmFpbGFibGV5BAAJY2FuZGlkYXRlAwAC",
  "AXIDB3JlcXVlc3R5A3NrdXcFc2NvcmV5BAAEcGljawMABAFqAAFzAUABBmNvbmZpZ3MABgQABGluaXQBBwFwAQFwdwFw",
  "AwFwBQFAAwhyZXF1ZXN0cwgFaXRlbXMJCmNhbmRpZGF0ZXMKAAsEAA9yZWNvbW1lbmQtYmF0Y2gBDAQAHW9uaGFuZDpy",
  "ZWNvbW1lbmQvcG9saWN5QDEuMC4wBQEEACBvbmhhbmQ6cmVjb21tZW5kL3JlY29tbWVuZEAxLjAuMAQACw8BAAlyZWNv",
  "bW1lbmQDAAAALwlwcm9kdWNlcnMBDHByb2Nlc3NlZC1ieQENd2l0LWNvbXBvbmVudAcwLjI1NC4y",
].join(""), "base64");
