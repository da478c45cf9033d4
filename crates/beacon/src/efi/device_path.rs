//! Device paths (UEFI 2.10 §10.3): as much of them as says where an HTTP boot came from.

/// Messaging Device Path, §10.3.4.
const MESSAGING: u8 = 3;
/// MAC Address Device Path, §10.3.4.10.
const MAC: u8 = 11;
/// Uniform Resource Identifiers (URI) Device Path, §10.3.4.23.
const URI: u8 = 24;
/// End of Hardware Device Path, §10.3.1. Firmware from before UEFI 2.0 wrote 0xff.
const END: u8 = 0x7f;
/// Another instance of the same path follows.
const END_INSTANCE: u8 = 0x01;

/// Type, subtype and a length that counts these four bytes.
const HEADER: usize = 4;

/// What is wrong with a device path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A node is cut off or claims a length that cannot be.
    #[error("the device path is damaged at its byte {0}")]
    Damaged(usize),
    /// A URI is ASCII (RFC 3986); this one is something else.
    #[error("the device path has a URI that is not ASCII")]
    NotAscii,
}

struct Node<'a> {
    kind: u8,
    subtype: u8,
    data: &'a [u8],
}

/// Takes the node at `at` and says where the next one begins.
fn node(list: &[u8], at: usize) -> Result<(Node<'_>, usize), PathError> {
    let rest = list.get(at..).unwrap_or_default();
    let &[kind, subtype, low, high, ..] = rest else { return Err(PathError::Damaged(at)) };
    let length = usize::from(u16::from_le_bytes([low, high]));
    let data = rest.get(HEADER..length).ok_or(PathError::Damaged(at))?;
    Ok((Node { kind, subtype, data }, at + length))
}

/// The URIs of all paths in `list` that lead over a network card: those with a MAC node and a URI node that
/// is not empty (an empty one means that DHCP is asked for the URI).
///
/// `list` is a packed array of device paths, each of which may have several instances; a MAC and a URI
/// belong together only within one instance. An end node that is missing because the list stops there is
/// forgiven, and so is padding after the first whole path.
pub fn http_boot_uris(list: &[u8]) -> Result<Vec<String>, PathError> {
    let mut uris = Vec::new();
    let mut instance = Instance::default();
    let mut whole_paths = 0;
    let mut at = 0;
    while at < list.len() {
        let (node, next) = match node(list, at) {
            Ok(found) => found,
            Err(_) if whole_paths > 0 => return Ok(uris),
            Err(error) => return Err(error),
        };
        match (node.kind & END, node.subtype) {
            (END, subtype) => {
                uris.extend(instance.finish());
                whole_paths += usize::from(subtype != END_INSTANCE);
            }
            (MESSAGING, MAC) => instance.has_mac = true,
            (MESSAGING, URI) => instance.uri = Some(text(node.data)?),
            _ => {}
        }
        at = next;
    }
    uris.extend(instance.finish());
    Ok(uris)
}

#[derive(Default)]
struct Instance {
    has_mac: bool,
    uri: Option<String>,
}

impl Instance {
    fn finish(&mut self) -> Option<String> {
        let Self { has_mac, uri } = std::mem::take(self);
        uri.filter(|uri| has_mac && !uri.is_empty())
    }
}

/// The text of a URI node. It is not terminated, but some firmware does it all the same.
fn text(data: &[u8]) -> Result<String, PathError> {
    let data = data.split(|&byte| byte == 0).next().unwrap_or_default();
    match str::from_utf8(data) {
        Ok(text) if text.is_ascii() => Ok(text.to_owned()),
        _ => Err(PathError::NotAscii),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(HEADER + data.len()).expect("a short node").to_le_bytes();
        [&[kind, subtype][..], &length, data].concat()
    }

    fn mac() -> Vec<u8> {
        node(MESSAGING, MAC, &[0; 33])
    }

    fn uri(text: &str) -> Vec<u8> {
        node(MESSAGING, URI, text.as_bytes())
    }

    fn end(subtype: u8) -> Vec<u8> {
        node(0x7f, subtype, b"")
    }

    #[test]
    fn a_uri_counts_only_beside_a_mac_of_the_same_instance() {
        let list = [uri("http://a/"), end(1), mac(), end(1), mac(), uri("http://b/"), end(0xff)].concat();
        assert_eq!(http_boot_uris(&list), Ok(vec!["http://b/".to_owned()]));
    }

    #[test]
    fn every_instance_and_every_path_of_the_list_counts() {
        let list = [mac(), uri("http://a/"), end(1), mac(), uri("http://b/"), end(0xff)].concat();
        let list = [list, [mac(), uri("http://c/"), end(0xff)].concat()].concat();
        assert_eq!(http_boot_uris(&list).expect("intact"), ["http://a/", "http://b/", "http://c/"]);
    }

    #[test]
    fn an_empty_uri_is_none() {
        let list = [mac(), uri(""), end(0xff)].concat();
        assert_eq!(http_boot_uris(&list), Ok(vec![]));
    }

    #[test]
    fn a_terminated_uri_loses_its_terminator() {
        let list = [mac(), uri("http://a/\0\0"), end(0xff)].concat();
        assert_eq!(http_boot_uris(&list).expect("intact"), ["http://a/"]);
    }

    #[test]
    fn a_missing_end_and_padding_after_a_whole_path_are_forgiven() {
        let open = [mac(), uri("http://a/")].concat();
        assert_eq!(http_boot_uris(&open).expect("intact"), ["http://a/"]);
        let padded = [open, end(0xff), vec![0; 7]].concat();
        assert_eq!(http_boot_uris(&padded).expect("intact"), ["http://a/"]);
    }

    #[test]
    fn old_end_nodes_end_a_path() {
        let list = [mac(), uri("http://a/"), node(0xff, 0xff, b""), vec![1, 2]].concat();
        assert_eq!(http_boot_uris(&list).expect("intact"), ["http://a/"]);
    }

    #[test]
    fn impossible_lengths_are_damage() {
        assert_eq!(http_boot_uris(&[3, 24, 0, 0]), Err(PathError::Damaged(0)));
        assert_eq!(http_boot_uris(&[3, 24, 3, 0]), Err(PathError::Damaged(0)));
        assert_eq!(http_boot_uris(&[3, 24, 9, 0, b'h']), Err(PathError::Damaged(0)));
        let list = [mac(), vec![3, 24]].concat();
        assert_eq!(http_boot_uris(&list), Err(PathError::Damaged(37)));
    }

    #[test]
    fn a_uri_in_another_encoding_is_refused() {
        let list = [mac(), node(MESSAGING, URI, b"http://\xfc/")].concat();
        assert_eq!(http_boot_uris(&list), Err(PathError::NotAscii));
    }
}
