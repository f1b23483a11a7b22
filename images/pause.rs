//! `pause`: holds a pod's namespaces. It sleeps, reaps children, and leaves when told to.
#![no_std]
#![no_main]

mod sys;

#[unsafe(no_mangle)]
extern "C" fn program() -> ! {
    sys::handle_signals();
    loop {
        sys::pause();
    }
}
