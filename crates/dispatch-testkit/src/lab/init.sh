#!/bin/busybox sh
# The first process of a lab image: brings the machine up, runs /workload, and resets the machine, so that its
# firmware asks for the next image. If this script itself dies, the kernel panics and resets after panic=SECONDS.
export PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root TERM=dumb

say() { echo "lab: $*"; }

restart() {
    trap - EXIT
    sync
    say "reset"
    reboot -f
    # Still here: the plain way failed, so ask the kernel itself.
    echo 1 > /proc/sys/kernel/sysrq
    echo b > /proc/sysrq-trigger
    exit 1
}
# Whatever ends this script, a shell error too.
trap restart EXIT

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
exec </dev/console >/dev/console 2>&1

while read -r module; do
    insmod "$module" || say "cannot load $module"
done < /modules.order
mount -t efivarfs efivarfs /sys/firmware/efi/efivars || say "no EFI variables"

ip link set lo up
card=
for path in /sys/class/net/*/device; do
    path=${path%/device}
    [ -e "$path" ] || continue
    name=${path##*/}
    ip link set "$name" up
    # The first card with a link; a card without one is taken only if there is no other.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(cat "$path/carrier" 2>/dev/null)" = 1 ] && break
        sleep 0.1
    done
    card=${card:-$name}
    [ "$(cat "$path/carrier" 2>/dev/null)" = 1 ] && card=$name && break
done
if [ -z "$card" ]; then
    say "no network card"
else
    # One question a second, sixty times; give up rather than stay in the background.
    udhcpc -i "$card" -s /udhcpc.sh -t 60 -T 1 -n -q >/dev/null || say "no address by DHCP on $card"
fi

say "workload $(cat /workload.name) starts on ${card:-nothing}"
(exec sh /workload)
say "workload ended with $?"
restart
