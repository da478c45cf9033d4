# Holds a network of its own: a bridge with two taps, and dnsmasq, which gives out addresses and boot URLs. It is the
# first process of its process namespace, so that dnsmasq ends with it; and it ends when its standard input does, so
# that nothing is left of a test that was killed. $1: the boot URL over IPv4, $2: over IPv6, $3: where leases are kept.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
ip link set lo up
ip link add br0 address 52:54:00:d1:59:00 type bridge mcast_snooping 0
# Addresses of its own choice, and no search for duplicates, would only make the first answers late.
ip link set br0 addrgenmode none
ip addr add 192.0.2.1/24 dev br0
ip addr add fe80::1/64 dev br0 nodad
ip addr add 2001:db8::1/64 dev br0 nodad
ip link set br0 up
for tap in tap0 tap1; do
    ip tuntap add "$tap" mode tap
    ip link set "$tap" addrgenmode none
    ip link set "$tap" master br0 up
done

# Not as a daemon: that would change its user and groups, which a user namespace does not allow.
set -- dnsmasq --no-daemon --conf-file=/dev/null --port=0 --pid-file= --dhcp-leasefile="$3" --log-dhcp \
    --interface=br0 --bind-interfaces --no-ping --dhcp-authoritative \
    --dhcp-range=192.0.2.100,192.0.2.199,255.255.255.0,1h \
    --enable-ra --ra-param=br0,10,600 --dhcp-range=2001:db8::100,2001:db8::1ff,slaac,64,1h \
    --dhcp-vendorclass=set:http,HTTPClient \
    ${1:+--dhcp-option-force=tag:http,option:vendor-class,HTTPClient "--dhcp-boot=tag:http,$1"} \
    ${2:+--dhcp-option-force=option6:16,00:00:01:57:00:0a:48:54:54:50:43:6c:69:65:6e:74 "--dhcp-option=option6:59,$2"}
"$@" 2>&1 &

# The process as those outside of the namespace know it: /proc is still theirs.
read -r pid _ </proc/self/stat
echo "holder $pid"
cat >/dev/null
