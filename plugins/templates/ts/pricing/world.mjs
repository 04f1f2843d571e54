// The world onhand:pricing@1.0.0: its names, and its bytes as wit-component writes them; change nothing.

export const section = "component-type:onhand:pricing@1.0.0";
export const names = {
  component_init: "onhand:pricing/policy@1.0.0#init",
  component_batch: "onhand:pricing/policy@1.0.0#price-batch",
  component_post: "cabi_post_onhand:pricing/policy@1.0.0#price-batch",
};
export const bytes = Buffer.from([
  "AGFzbQ0AAQAAGRZ3aXQtY29tcG9uZW50LWVuY29kaW5nBAAHnwMBQQIBQQQBQgIBQAIFbGV2ZWx5B21lc3NhZ2VzAQAE",
  "AANsb2cBAAMAGG9uaGFuZDpwcmljaW5nL2xvZ0AxLjAuMAUAAUIPAXIICGN1c3RvbWVydwdzZWdtZW50eQNub3d3CGN1",
  "cnJlbmN5eQpmaXJzdC1saW5leQpsaW5lLWNvdW50eQxmaXJzdC1jb3Vwb255DGNvdXBvbi1jb3VudHkEAAZoZWFkZXID",
  "AAABcgUDc2t1dwVjbGFzc3kIbG9jYXRpb255CHF1YW50aXR5eQR1bml0eAQABGxpbmUDAAIBcgQEa2luZHkCYXR5BmFt",
  "b3VudHgEY29kZXkEAAphZGp1c3RtZW50AwAEAWoAAXMBQAEGY29uZmlncwAGBAAEaW5pdAEHAXABAXADAXB3AXAFAUAD",
  "B2hlYWRlcnMIBWxpbmVzCQdjb3Vwb25zCgALBAALcHJpY2UtYmF0Y2gBDAQAG29uaGFuZDpwcmljaW5nL3BvbGljeUAx",
  "LjAuMAUBBAAcb25oYW5kOnByaWNpbmcvcHJpY2luZ0AxLjAuMAQACw0BAAdwcmljaW5nAwAAAC8JcHJvZHVjZXJzAQxw",
  "cm9jZXNzZWQtYnkBDXdpdC1jb21wb25lbnQHMC4yNTQuMg==",
].join(""), "base64");
