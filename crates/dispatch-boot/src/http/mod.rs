//! HTTP/1 as a boot server needs it (RFC 9110, RFC 9112): requests in, whole answers with an exact
//! `Content-Length` out, never chunked, never a redirect.
//!
//! Everything here is pure: bytes in, bytes out. The connection is in `connection.rs`.

pub mod chunked;
pub mod range;
pub mod request;
pub mod response;
