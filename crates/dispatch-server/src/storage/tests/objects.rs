//! What a storage is for, in a folder and in a bucket.

use sha2::{Digest as _, Sha256};

use super::*;

const MIB: usize = 1024 * 1024;

fn sha256(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::digest(bytes).into())
}

#[tokio::test]
async fn what_is_stored_is_read_again() {
    for rig in both() {
        let object = put(&rig.storage, "reports/a.txt", b"hello").await;
        assert_eq!(object, Object { key: key("reports/a.txt"), size: 5, digest: sha256(b"hello") });
        assert_eq!(read(&rig.storage, "reports/a.txt").await.as_deref(), Some(&b"hello"[..]));
    }
}

#[tokio::test]
async fn nothing_is_something_as_well() {
    for rig in both() {
        put(&rig.storage, "empty", b"").await;
        assert_eq!(read(&rig.storage, "empty").await.as_deref(), Some(&b""[..]));
    }
}

#[tokio::test]
async fn letters_of_all_kinds_are_kept_as_they_are() {
    for rig in both() {
        let name = "reports/2026-01-02_größe+1=a@b,c_試験.md";
        put(&rig.storage, name, b"hello").await;
        assert_eq!(read(&rig.storage, name).await.as_deref(), Some(&b"hello"[..]));
        let page = rig.storage.list(None, None, 10).await.expect("a list");
        assert_eq!(page.items.iter().map(|head| head.key.as_str()).collect::<Vec<_>>(), [name]);
    }
}

#[tokio::test]
async fn what_is_not_there_is_none() {
    for rig in both() {
        assert_eq!(read(&rig.storage, "a").await, None);
        assert_eq!(rig.storage.head(&key("a")).await.expect("an answer"), None);
        rig.storage.delete(&key("a")).await.expect("fine");
    }
}

#[tokio::test]
async fn what_other_keys_begin_with_is_no_object() {
    let rig = in_folder();
    put(&rig.storage, "b/1", b"hello").await;
    assert_eq!(rig.storage.head(&key("b")).await.expect("an answer"), None);
    assert_eq!(read(&rig.storage, "b").await, None);
}

#[tokio::test]
async fn the_same_bytes_twice_are_fine() {
    for rig in both() {
        assert_eq!(put(&rig.storage, "a", b"hello").await, put(&rig.storage, "a", b"hello").await);
    }
}

#[tokio::test]
async fn other_bytes_under_the_same_name_are_refused_and_change_nothing() {
    for rig in both() {
        put(&rig.storage, "a", b"hello").await;
        for other in ["world", "longer than that"] {
            let error = rig.storage.put(&key("a"), other.into(), "text/plain").await.expect_err("refused");
            assert!(matches!(error, StorageError::Different { .. }), "{error}");
        }
        assert_eq!(read(&rig.storage, "a").await.as_deref(), Some(&b"hello"[..]));
    }
}

#[tokio::test]
async fn what_is_to_be_replaced_is() {
    for rig in both() {
        put(&rig.storage, "a", b"hello").await;
        rig.storage.replace(&key("a"), "world".into(), "text/plain").await.expect("replaced");
        assert_eq!(read(&rig.storage, "a").await.as_deref(), Some(&b"world"[..]));
    }
}

#[tokio::test]
async fn what_was_deleted_is_gone() {
    for rig in both() {
        put(&rig.storage, "a", b"hello").await;
        rig.storage.delete(&key("a")).await.expect("deleted");
        assert_eq!(read(&rig.storage, "a").await, None);
    }
}

#[tokio::test]
async fn a_range_is_those_bytes() {
    for rig in both() {
        put(&rig.storage, "a", b"0123456789").await;
        let reading = rig.storage.get(&key("a"), Some(3..6)).await.expect("an answer").expect("there");
        assert_eq!((reading.size, reading.range.clone()), (10, 3..6));
        assert_eq!(reading.bytes(3).await.expect("bytes"), "345");
        let rest = rig.storage.get(&key("a"), Some(8..100)).await.expect("an answer").expect("there");
        assert_eq!(rest.bytes(100).await.expect("bytes"), "89");
    }
}

#[tokio::test]
async fn a_range_behind_the_end_is_an_error() {
    for rig in both() {
        put(&rig.storage, "a", b"0123456789").await;
        for range in [10..11, 50..60, 3..3] {
            let error = rig.storage.get(&key("a"), Some(range)).await.expect_err("no range");
            assert!(matches!(error, StorageError::Range { .. }), "{error}");
        }
    }
}

#[tokio::test]
async fn nobody_has_to_take_more_than_they_want() {
    for rig in both() {
        put(&rig.storage, "a", b"hello").await;
        let reading = rig.storage.get(&key("a"), None).await.expect("an answer").expect("there");
        let error = reading.bytes(4).await.expect_err("too large");
        assert!(matches!(error, StorageError::TooLarge { limit: 4, .. }), "{error}");
    }
}

#[tokio::test]
async fn damage_is_noticed_by_the_digest() {
    for rig in both() {
        let object = put(&rig.storage, "a", b"hello").await;
        let whole = rig.storage.get(&key("a"), None).await.expect("an answer").expect("there");
        whole.expecting(object.digest).bytes(5).await.expect("as it was");
        let file = match (&rig.folder, &rig.server) {
            (Some(folder), _) => folder.path().join("new/a"),
            (None, Some(server)) => server.folder().join(BUCKET).join("a/b/a"),
            (None, None) => unreachable!("it is kept somewhere"),
        };
        std::fs::write(file, "hellO").expect("damaged");
        let damaged = rig.storage.get(&key("a"), None).await.expect("an answer").expect("there");
        let error = damaged.expecting(object.digest).bytes(5).await.expect_err("damaged");
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_list_comes_in_order_and_page_by_page() {
    for rig in both() {
        for name in ["b/2", "a", "c", "b-0", "b/10", "b/1.x"] {
            put(&rig.storage, name, name.as_bytes()).await;
        }
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = rig.storage.list(None, after.as_ref(), 3).await.expect("a page");
            assert!(page.items.len() <= 3);
            all.extend(page.items.into_iter().map(|head| (head.key.to_string(), head.size)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let names = ["a", "b-0", "b/1.x", "b/10", "b/2", "c"];
        let names = names.map(|name| (name.to_owned(), name.len() as u64));
        assert_eq!(all, names);
    }
}

#[tokio::test]
async fn a_list_below_a_key_has_nothing_else() {
    for rig in both() {
        for name in ["b/1", "b/2", "bb/3", "c"] {
            put(&rig.storage, name, b"").await;
        }
        let page = rig.storage.list(Some(&key("b")), None, 10).await.expect("a page");
        assert_eq!(page.items.iter().map(|head| head.key.as_str()).collect::<Vec<_>>(), ["b/1", "b/2"]);
        assert_eq!(page.next, None);
        let exactly = rig.storage.list(Some(&key("b")), None, 2).await.expect("a page");
        assert_eq!(exactly.next, None);
    }
}

#[tokio::test]
async fn something_large_is_stored_in_parts() {
    let bytes = large(37 * MIB + 11);
    for rig in both() {
        let object = rig.storage.put_stream(&key("images/a"), "x/y", chunks(&bytes)).await.expect("stored");
        assert_eq!((object.size, object.digest), (bytes.len() as u64, sha256(&bytes)));
        let reading = rig.storage.get(&key("images/a"), None).await.expect("an answer").expect("there");
        assert!(reading.expecting(object.digest).bytes(u64::MAX).await.expect("whole") == bytes);
    }
}

#[tokio::test]
async fn something_of_exactly_one_part_is_stored() {
    let bytes = large(16 * MIB);
    for rig in both() {
        let object = rig.storage.put_stream(&key("a"), "x/y", chunks(&bytes)).await.expect("stored");
        assert_eq!((object.size, object.digest), (bytes.len() as u64, sha256(&bytes)));
        assert_eq!(rig.storage.head(&key("a")).await.expect("an answer").expect("there").size, object.size);
    }
}

#[tokio::test]
async fn something_large_is_stored_once() {
    let (bytes, others) = (large(17 * MIB), large(17 * MIB + 1));
    for rig in both() {
        let first = rig.storage.put_stream(&key("a"), "x/y", chunks(&bytes)).await.expect("stored");
        let again = rig.storage.put_stream(&key("a"), "x/y", chunks(&bytes)).await.expect("the same");
        assert_eq!(first, again);
        let error = rig.storage.put_stream(&key("a"), "x/y", chunks(&others)).await.expect_err("refused");
        assert!(matches!(error, StorageError::Different { .. }), "{error}");
        assert_eq!(rig.storage.head(&key("a")).await.expect("an answer").expect("there").size, first.size);
    }
}

#[tokio::test]
async fn of_two_who_store_something_large_at_once_one_wins_and_the_other_is_told() {
    for rig in both() {
        let bytes = large(17 * MIB);
        let storage = rig.storage.clone();
        // Once the last chunk is asked for, the upload has begun, and the name was free.
        let late = stream::once(async move {
            put(&storage, "a", b"first").await;
            Ok(Bytes::from_static(b"end"))
        });
        let from = Box::pin(futures_util::StreamExt::chain(chunks(&bytes), late));
        let error = rig.storage.put_stream(&key("a"), "x/y", from).await.expect_err("refused");
        assert!(matches!(error, StorageError::Different { .. }), "{error}");
        assert_eq!(read(&rig.storage, "a").await.as_deref(), Some(&b"first"[..]));
    }
}

#[tokio::test]
async fn what_breaks_off_is_not_stored() {
    for rig in both() {
        for length in [10, 40 * MIB] {
            let broken = stream::iter([Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))]);
            let from = Box::pin(futures_util::StreamExt::chain(chunks(&large(length)), broken));
            let error = rig.storage.put_stream(&key("a"), "x/y", from).await.expect_err("broken");
            assert!(matches!(error, StorageError::Source { .. }), "{error}");
            assert_eq!(rig.storage.head(&key("a")).await.expect("an answer"), None);
        }
        if let Some(folder) = &rig.folder {
            let left = std::fs::read_dir(folder.path().join("new").join(INCOMING)).expect("a folder");
            assert_eq!(left.count(), 0);
        }
    }
}
