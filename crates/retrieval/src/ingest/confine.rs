//! What a process that reads hostile documents gives up, before it reads the first one.
//!
//! It keeps what it was started with: two pipes, memory up to a bound, processor time up to a
//! bound. It opens no file, makes no connection, starts nothing: a filter on system calls refuses
//! all but the few that reading, writing and memory need. What it is held by is said in its first
//! words, and whoever started it sends nothing before they have been read.

use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of memory beyond what the process has when it begins.
pub const MEMORY_BYTES_MAX: u64 = 512 << 20;

/// What a process is held by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Bounds of memory, processor time, files and processes.
    pub has_limits: bool,
    /// A filter on system calls.
    pub has_filter: bool,
}

/// Gives everything up. There is no way back.
pub fn confine(memory_bytes: u64, processor_seconds: u64) -> Confinement {
    let has_limits = limit(memory_bytes, processor_seconds).is_some();
    let has_filter = filter().is_some_and(|it| seccompiler::apply_filter_all_threads(&it).is_ok());
    Confinement { has_limits, has_filter }
}

fn limit(memory_bytes: u64, processor_seconds: u64) -> Option<()> {
    let (space, heap) = in_use()?;
    let set = |resource, most: u64| {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).ok()
    };
    // Programs reserve address space that they do not use: what is written to is bounded as well.
    set(Resource::As, space.saturating_add(memory_bytes))?;
    set(Resource::Data, heap.saturating_add(memory_bytes))?;
    set(Resource::Cpu, processor_seconds)?;
    set(Resource::Core, 0)?;
    set(Resource::Fsize, 0)?;
    // The three that are open stay so.
    set(Resource::Nofile, 3)?;
    set(Resource::Nproc, 0)
}

/// Bytes of address space, and of it those that can be written to.
fn in_use() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    Some((kilobytes("VmSize:")? << 10, kilobytes("VmData:")? << 10))
}

/// All that is refused is refused with an error, so that a parser that tries it fails in words.
fn filter() -> Option<BpfProgram> {
    let allowed = [
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let rules: BTreeMap<i64, Vec<SeccompRule>> =
        allowed.into_iter().map(|call| (call, Vec::new())).collect();
    let errno = u32::try_from(libc::EPERM).ok()?;
    let target = std::env::consts::ARCH.try_into().ok()?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Errno(errno), SeccompAction::Allow, target);
    filter.ok()?.try_into().ok()
}
