//! The handful of Linux system calls that the embedded programs need, without a C library: each program is a few
//! kilobytes, static, and runs on any Linux of its architecture.

use core::arch::asm;

#[cfg(target_arch = "x86_64")]
pub mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const PAUSE: usize = 34;
    pub const SOCKET: usize = 41;
    pub const SHUTDOWN: usize = 48;
    pub const BIND: usize = 49;
    pub const LISTEN: usize = 50;
    pub const SETSOCKOPT: usize = 54;
    pub const WAIT4: usize = 61;
    pub const UNAME: usize = 63;
    pub const RT_SIGACTION: usize = 13;
    pub const ACCEPT4: usize = 288;
    pub const EXIT_GROUP: usize = 231;
}

#[cfg(target_arch = "aarch64")]
pub mod number {
    pub const CLOSE: usize = 57;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PPOLL: usize = 73;
    pub const EXIT_GROUP: usize = 94;
    pub const RT_SIGACTION: usize = 134;
    pub const UNAME: usize = 160;
    pub const SOCKET: usize = 198;
    pub const BIND: usize = 200;
    pub const LISTEN: usize = 201;
    pub const SETSOCKOPT: usize = 208;
    pub const SHUTDOWN: usize = 210;
    pub const ACCEPT4: usize = 242;
    pub const WAIT4: usize = 260;
}

/// One system call. The result is the kernel's: negative is `-errno`.
///
/// # Safety
/// The arguments must be what the kernel expects of call `n`; pointers must be valid for as long as it uses them.
pub unsafe fn call(n: usize, a: [usize; 5]) -> isize {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller vouches for the arguments; the clobbers are those of the x86-64 Linux ABI.
    unsafe {
        asm!("syscall", inlateout("rax") n as isize => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
             in("r10") a[3], in("r8") a[4], lateout("rcx") _, lateout("r11") _);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the caller vouches for the arguments; `svc 0` preserves every register but x0.
    unsafe {
        asm!("svc 0", in("x8") n, inlateout("x0") a[0] as isize => result, in("x1") a[1], in("x2") a[2],
             in("x3") a[3], in("x4") a[4]);
    }
    result
}

pub fn exit(code: usize) -> ! {
    loop {
        // SAFETY: exit_group takes a number and does not return.
        unsafe { call(number::EXIT_GROUP, [code, 0, 0, 0, 0]) };
    }
}

const SIGHUP: usize = 1;
const SIGINT: usize = 2;
const SIGTERM: usize = 15;
const SIGCHLD: usize = 17;
const SA_RESTORER: usize = 0x0400_0000;
const SA_NOCLDSTOP: usize = 1;

#[repr(C)]
struct SigAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

extern "C" fn leave(_signal: i32) {
    exit(0);
}

/// Reaps every child that has ended: the process is PID 1 where a pod shares its process namespace.
extern "C" fn reap(_signal: i32) {
    const WNOHANG: usize = 1;
    // SAFETY: a null status pointer is allowed; -1 asks for any child.
    while unsafe { call(number::WAIT4, [usize::MAX, 0, WNOHANG, 0, 0]) } > 0 {}
}

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(".global sys_restore", "sys_restore:", "mov rax, 15", "syscall");
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(".global sys_restore", "sys_restore:", "mov x8, 139", "svc 0");
unsafe extern "C" {
    fn sys_restore();
}

/// Ends the process on the signals that ask for it (PID 1 has no default actions) and reaps children.
pub fn handle_signals() {
    for (signal, handler) in [
        (SIGINT, leave as extern "C" fn(i32) as usize),
        (SIGTERM, leave as extern "C" fn(i32) as usize),
        (SIGHUP, leave as extern "C" fn(i32) as usize),
        (SIGCHLD, reap as extern "C" fn(i32) as usize),
    ] {
        let restorer = sys_restore as unsafe extern "C" fn() as usize;
        let action = SigAction { handler, flags: SA_RESTORER | SA_NOCLDSTOP, restorer, mask: 0 };
        // SAFETY: the struct has the kernel's layout and lives through the call; 8 is the size of its mask.
        unsafe { call(number::RT_SIGACTION, [signal, &raw const action as usize, 0, 8, 0]) };
    }
}

/// Sleeps until a signal has been handled.
pub fn pause() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: pause takes nothing.
    unsafe {
        call(number::PAUSE, [0; 5]);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: ppoll over no descriptors and without a timeout waits for a signal.
    unsafe {
        call(number::PPOLL, [0; 5]);
    }
}

// The kernel enters with the stack pointer as it likes; Rust functions want it aligned as after a call.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(".global _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call program", "ud2");
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(".global _start", "_start:", "mov x29, 0", "bl program", "brk 1");

/// What the compiler calls to clear memory; there is no C library to bring it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    for i in 0..length {
        // SAFETY: the caller owns `length` bytes at `to`; volatile, so that the loop is not turned into this call.
        unsafe { to.add(i).write_volatile(byte as u8) };
    }
    to
}

/// Named by the core library's unwind tables; nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}
