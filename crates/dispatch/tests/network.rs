//! Who is asking, on a network of its own: two namespaces joined by a cable, so that the kernel has a neighbour table.
//! Runs in a user namespace, and needs no privileges where the system allows those.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::process::Command;

use common::{lab, may_have_networks, verdict};
use serde_json::Value;

/// The server is at one end of a cable, a host with a MAC of its own at the other. It asks from one address, then
/// from another, then over IPv6. The server listens where it does by default: everywhere, on port 8080.
const SCRIPT: &str = r#"
set -eu
ip link set lo up
ip link add near type veth peer name far
ip addr add 192.0.2.1/24 dev near
ip addr add 2001:db8::1/64 dev near nodad
ip link set near up
unshare --net sleep 120 &
other=$!
server=
trap 'kill $other $server 2>/dev/null' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set far netns $other
at_host() { nsenter --net=/proc/$other/ns/net "$@"; }
at_host ip link set far address 52:54:00:00:00:99 up
at_host ip addr add 192.0.2.7/24 dev far
at_host ip addr add 2001:db8::7/64 dev far nodad
coproc "$@"
server=$COPROC_PID
# bash forgets the pipe when the program has ended.
exec {log}<&"${COPROC[0]}"
while read -r line <&$log; do
    echo "$line"
    [[ $line == *queued* ]] && break
done
ask() {
    at_host bash -c "exec 3<>/dev/tcp/$1/8080; printf 'HEAD /dispatch HTTP/1.0\r\n\r\n' >&3; head -1 <&3" >&2
}
ask 192.0.2.1
at_host ip addr del 192.0.2.7/24 dev far
at_host ip addr add 192.0.2.8/24 dev far
ask 192.0.2.1
ask 2001:db8::1
kill -TERM $server
cat <&$log
"#;

#[test]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn the_same_mac_is_the_same_host_at_every_address_ipv4_or_ipv6() {
    if !may_have_networks() {
        eprintln!("left out: this system gives no network namespaces");
        return;
    }
    let mut lab = lab(&["a.efi", "b.efi"], &[]);
    lab.bind = ([0, 0, 0, 0], 8080).into();
    let command = lab.command();
    let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let at = arguments.iter().position(|word| word == "--bind").expect("an address");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "bash", "-c", SCRIPT, "bash"])
        .arg(&lab.binary)
        .args(&arguments[..at])
        .args(&arguments[at + 2..])
        .output()
        .expect("unshare (util-linux) can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told = |event: &str| events.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!(errors.matches("200 OK").count(), 3, "{errors}\n{text}");
    assert_eq!(told("host-seen").len(), 1, "{text}");
    assert_eq!(told("assigned").len(), 1, "{text}");
    let label = told("host-seen")[0]["host"]["label"].as_str().expect("a name");
    assert_eq!(label, "52:54:00:00:00:99 (192.0.2.7)");
    assert_eq!((verdict(&lab, "a.efi"), verdict(&lab, "b.efi")), ("assigned".into(), "queued".into()));
}
