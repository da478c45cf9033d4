//! An image that was told nothing finds its server, and a person the URL to type: on a link of its own, with the real
//! beacon, and with Avahi and dnsmasq as the other sides.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Lab, lab, may_have_networks, verdict};
use dispatch_testkit::lab::packages::{Need, missing};

const LINK: &str = include_str!("common/link.sh");

/// Seconds; the script's own waits end earlier.
const LIMIT: &str = "60";

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn is_possible() -> bool {
    let missing = missing(Need::QUICK);
    assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "missing packages: {missing:?}");
    if !missing.is_empty() {
        eprintln!("left out: this system lacks {}", missing.join(" "));
    } else if !may_have_networks() {
        eprintln!("left out: this system gives no network namespaces");
    } else {
        return true;
    }
    false
}

/// beacon, beside dispatch, and as new as that.
fn beacon() -> PathBuf {
    let dispatch = Path::new(env!("CARGO_BIN_EXE_dispatch"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--package", "beacon", "--bin", "beacon"]);
    if dispatch.parent().is_some_and(|folder| folder.ends_with("release")) {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo can be run").success(), "beacon cannot be built");
    dispatch.with_file_name("beacon")
}

/// Runs a script on the link. `$@` is a dispatch, listening on `bind` or where it does by default; what the script
/// wrote comes back.
fn on_a_link(lab: &Lab, bind: Option<&str>, script: &str) -> String {
    let arguments = lab.command().get_args().map(ToOwned::to_owned).collect::<Vec<_>>();
    let at = arguments.iter().position(|word| word == "--bind").expect("an address");
    let output = Command::new("timeout")
        .args([LIMIT, "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork"])
        .args(["--kill-child", "bash", "-c"])
        .arg(format!("{LINK}\n{script}"))
        .arg("bash")
        .arg(beacon())
        .arg(&lab.binary)
        .args(&arguments[..at])
        .args(bind.map_or(vec![], |bind| vec!["--bind", bind]))
        .args(&arguments[at + 2..])
        .output()
        .expect("timeout (coreutils) and unshare (util-linux) can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    format!("{text}\n{errors}")
}

/// What `avahi-browse -rtp` has resolved: interface, protocol, name, address, port and texts.
fn resolved(text: &str) -> Vec<[String; 6]> {
    let fields = |line: &str| {
        let fields: Vec<&str> = line.strip_prefix("=;")?.split(';').collect();
        let &[interface, protocol, name, _, _, _, address, port, texts] = fields.as_slice() else {
            return None;
        };
        Some([interface, protocol, name, address, port, texts].map(str::to_owned))
    };
    let mut all: Vec<_> = text.lines().filter_map(fields).collect();
    all.sort();
    all
}

#[test]
fn dispatch_announces_itself_beside_avahi_and_beacon_finds_it() {
    if !is_possible() {
        return;
    }
    let lab = lab(&["a.efi"], &[]);
    let text = on_a_link(
        &lab,
        None,
        r#"
start_avahi
start queued "$@"
dispatch=$started log=$output
# Both families: each is announced when its name has been probed for.
until found=$(avahi-browse -rtp _dispatch._tcp) && [[ $found == *"=;near;IPv4"* && $found == *"=;near;IPv6"* ]]; do :; done
echo "$found"
get_image
boot_and_report
kill -TERM $dispatch
wait $dispatch
cat <&$log
# Without a goodbye, Avahi would know it for more than an hour.
while [[ $(avahi-browse -tp _dispatch._tcp) == *dispatch-* ]]; do :; done
"#,
    );
    assert_eq!(verdict(&lab, "a.efi"), "reported", "{text}");
    assert!(!text.contains("could be announced"), "{text}");
    assert!(text.contains("started, told http://192.0.2.1:8080/dispatch"), "{text}");
    let found = resolved(&text);
    assert_eq!(found.len(), 2, "{text}");
    for ([interface, _, name, address, port, texts], expected) in
        found.iter().zip(["192.0.2.1", "2001:db8::1"])
    {
        assert_eq!(
            (interface.as_str(), address.as_str(), port.as_str()),
            ("near", expected, "8080"),
            "{text}"
        );
        assert!(name.strip_prefix("dispatch-").is_some_and(|suffix| suffix.len() == 8), "{name}");
        let version = format!("\"version={}\"", env!("CARGO_PKG_VERSION"));
        for part in ["\"path=/dispatch\"", "\"description=boot images of images\"", &version] {
            assert!(texts.contains(part), "{part} in {texts}");
        }
    }
}

#[test]
fn a_network_that_comes_up_later_is_announced_on_over_ipv6_alone_as_well() {
    if !is_possible() {
        return;
    }
    let lab = lab(&["a.efi"], &[]);
    let text = on_a_link(
        &lab,
        None,
        r#"
ip addr flush dev near scope global
at_host ip addr del 192.0.2.7/24 dev far
start queued "$@"
ip addr add 2001:db8::1/64 dev near nodad
get_image 2001:db8::1
boot_and_report
"#,
    );
    assert_eq!(verdict(&lab, "a.efi"), "reported", "{text}");
    assert!(text.contains("started, told http://[2001:db8::1]:8080/dispatch"), "{text}");
}

#[test]
fn only_the_address_that_is_listened_on_is_announced() {
    if !is_possible() {
        return;
    }
    let text = on_a_link(
        &lab(&["a.efi"], &[]),
        Some("198.51.100.1:8080"),
        r#"
ip addr add 198.51.100.1/24 dev near
start_avahi
start queued "$@"
until found=$(avahi-browse -rtp _dispatch._tcp) && [[ $found == *"=;near"* ]]; do :; done
avahi-browse -rtp _dispatch._tcp
kill -TERM $started
wait $started
"#,
    );
    let addresses: Vec<_> = resolved(&text).into_iter().map(|[_, _, _, address, ..]| address).collect();
    assert_eq!(addresses, ["198.51.100.1"], "{text}");
}

#[test]
fn beacon_finds_what_avahi_announces_and_tries_one_after_the_other() {
    if !is_possible() {
        return;
    }
    let lab = lab(&["a.efi"], &["--no-mdns", "--path", "/there"]);
    let text = on_a_link(
        &lab,
        None,
        r#"
start_avahi
start queued "$@"
start Established avahi-publish -s 'a server that is gone' _dispatch._tcp 9
start Established avahi-publish -s 'my. lab' _dispatch._tcp 8080 path=/there
get_image 192.0.2.1 /there
boot_and_report
"#,
    );
    assert_eq!(verdict(&lab, "a.efi"), "reported", "{text}");
    assert!(
        text.contains("http://192.0.2.1:9/dispatch (mDNS, \"a server that is gone\"): connection refused"),
        "{text}"
    );
    assert!(text.contains("started, told http://192.0.2.1:8080/there"), "{text}");
    assert!(!text.contains("dispatch-"), "a session that does not announce itself is not found: {text}");
}

#[test]
fn beacon_finds_what_the_name_server_of_its_search_domain_knows() {
    if !is_possible() {
        return;
    }
    let lab = lab(&["a.efi"], &["--no-mdns"]);
    let text = on_a_link(
        &lab,
        None,
        r#"
start queued "$@"
start started, dnsmasq --no-daemon --conf-file=/dev/null --no-hosts --no-resolv --bind-interfaces \
    --listen-address=192.0.2.1 --host-record=server.lab.example,192.0.2.1 \
    --ptr-record=_dispatch._tcp.lab.example,boot._dispatch._tcp.lab.example \
    --srv-host=boot._dispatch._tcp.lab.example,server.lab.example,8080 \
    --txt-record=boot._dispatch._tcp.lab.example,path=/dispatch
printf 'search other.example lab.example\nnameserver 192.0.2.1\n' >$image/etc/resolv.conf
get_image
boot_and_report
"#,
    );
    assert_eq!(verdict(&lab, "a.efi"), "reported", "{text}");
    assert!(text.contains("started, told http://192.0.2.1:8080/dispatch"), "{text}");
}

#[test]
fn where_mdns_is_taken_a_session_goes_on_with_a_warning() {
    if !is_possible() {
        return;
    }
    let text = on_a_link(
        &lab(&["a.efi"], &[]),
        None,
        r#"
start_avahi disallow-other-stacks=yes
start "not announced by mDNS" "$@"
get_image
kill -TERM $started
wait $started
"#,
    );
    assert!(text.contains("port 5353 cannot be shared"), "{text}");
}

#[test]
fn where_multicast_is_impossible_there_is_a_warning_that_says_what_images_need() {
    if !is_possible() {
        return;
    }
    let lab = lab(&["a.efi"], &[]);
    let text = on_a_link(
        &lab,
        None,
        r#"
ip link set near multicast off
start "nothing could be announced by mDNS" "$@"
get_image
kill -TERM $started
wait $started
cat <&$output
"#,
    );
    assert!(text.contains("dispatch.url= on their command line, or DNS-SD"), "{text}");
    assert_eq!(text.matches("could be announced").count(), 1, "{text}");
}

#[test]
fn the_boot_url_of_the_default_route_comes_first_and_those_of_container_bridges_last() {
    if !is_possible() {
        return;
    }
    let text = on_a_link(
        &lab(&["a.efi"], &["--no-mdns"]),
        None,
        r#"
ip link add docker0 type veth peer name lab
ip addr add 172.17.0.1/16 dev docker0
ip link set docker0 up
ip addr add 10.0.0.1/24 dev lab
ip link set lab up
ip route add default via 192.0.2.7
start queued "$@"
kill -TERM $started
wait $started
"#,
    );
    let urls: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let after = line.split_once("boot URL: http://")?.1;
            Some(after.split_once(":8080/")?.0.to_owned())
        })
        .collect();
    assert_eq!(urls, ["192.0.2.1", "10.0.0.1", "[2001:db8::1]", "172.17.0.1"], "{text}");
}
