#!/bin/sh
# What busybox's DHCP client calls for every change: sets address, default route and name servers.
case "$1" in
deconfig)
    ip addr flush dev "$interface"
    ip link set "$interface" up
    ;;
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    # The metric tells several routers apart; the first one is the preferred one.
    metric=0
    for gateway in $router; do
        ip route add default via "$gateway" dev "$interface" metric "$metric"
        metric=$((metric + 1))
    done
    : > /etc/resolv.conf
    [ -n "$domain" ] && echo "search $domain" >> /etc/resolv.conf
    for server in $dns; do
        echo "nameserver $server" >> /etc/resolv.conf
    done
    ;;
esac
exit 0
