#!/bin/sh
# Turns a bare Debian (the root folder this runs in) into the template of the machines.
set -eu

useradd --create-home --shell /bin/bash --comment 'as on the image of a cloud' admin
chmod 0440 /etc/sudoers.d/admin
printf 'LANG=C.UTF-8\n' >/etc/default/locale

# What belongs to one machine is made when that machine is.
rm -f /etc/ssh/ssh_host_* /etc/machine-id /etc/hostname /etc/resolv.conf /var/lib/dbus/machine-id
: >/etc/fstab

systemctl enable lab-boot.service
# These serve hardware, consoles and upkeep that a container has not; masked, they cost no boot time.
systemctl mask systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    systemd-udev-trigger.service systemd-modules-load.service systemd-firstboot.service \
    systemd-timesyncd.service systemd-networkd.service systemd-resolved.service systemd-journal-flush.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service getty.target console-getty.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer systemd-pstore.service systemd-remount-fs.service systemd-sysusers.service systemd-initctl.socket \
    modprobe@.service sys-kernel-debug.mount sys-kernel-tracing.mount

rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
