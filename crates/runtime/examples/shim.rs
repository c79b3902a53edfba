//! A program that is nothing but the shim, for the runtime's own tests and benchmarks.

fn main() {
    let mut args = std::env::args_os().skip(1);
    assert!(args.next().is_some_and(|word| word == "shim"), "usage: shim shim …");
    gantry_runtime::container::shim::main(args)
}
