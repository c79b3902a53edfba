//! The blocking half of a host's networks: every change of the kernel and of the records, in the order that a crash may
//! interrupt anywhere.
//!
//! - A record is written before what it describes is made, so that nothing exists that no record knows of.
//! - The mount of a namespace is the commit: a record without one is void.
//! - The packet filter's table is rebuilt from the records at every start.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use gantry_domain::task_definition::Proxy;
use parking_lot::Mutex;

use super::{
    Interface, NetworkError, NetworkNamespace, NetworkOptions, NetworkRequest, Protocol, Publish, TASK_ENDPOINT,
    addresses::Addresses,
    conntrack, endpoint, foreign_firewall, link,
    names::{Names, mac_of, new_mac, overlap, parse_mac, routed_networks},
    namespace::{Namespace, is_mounted, release},
    netlink::{Family, Netlink},
    nftables::{Forward, Table},
    overlay::{AppliedNetworks, VXLAN_BYTES},
    ports::Ports,
    record::{Attachment, Port, Record, Records},
    spares::Spares,
};

/// Docker may be started after us, so its chains are looked for now and then.
const FIREWALL_INTERVAL: Duration = Duration::from_secs(10);

pub(super) struct Host {
    pub(super) records: Records,
    pub(super) names: Names,
    options: NetworkOptions,
    state: Mutex<State>,
    /// Taken before the state.
    pub(super) overlay: Mutex<AppliedNetworks>,
    /// Of interfaces in networks that reach over hosts, or may some day.
    pub(super) overlay_mtu: u32,
    /// In the host's namespace; `None` after an error, which may leave answers under way.
    route: Mutex<Option<Netlink>>,
    table: Mutex<Table>,
    firewall_checked: Mutex<Instant>,
    spares: Spares,
}

struct State {
    records: HashMap<String, Record>,
    addresses: Addresses,
    ports: Ports,
    /// Index by name.
    bridges: HashMap<String, u32>,
}

impl State {
    /// What the packet filter's table has to hold.
    fn table(&self) -> (Vec<String>, Vec<Forward>) {
        let forwards = self.records.values().flat_map(|record| record.forwards(&record.ports)).collect();
        (self.bridges.keys().cloned().collect(), forwards)
    }
}

pub(super) fn kernel(action: &str) -> impl FnOnce(io::Error) -> NetworkError {
    let action = action.to_owned();
    move |error| NetworkError::Kernel { action, detail: error.to_string() }
}

impl Host {
    pub(super) fn open(root: &Path, mut options: NetworkOptions) -> Result<Self, NetworkError> {
        if !options.is_valid() {
            return Err(kernel("network options")(io::ErrorKind::InvalidInput.into()));
        }
        let root = std::path::absolute(root).map_err(kernel("find the network directory"))?;
        let names = Names::of(&root);
        let records = Records::open(root).map_err(kernel("open the network directory"))?;
        options.bridge_address = bridge_address(&records, &options)?;
        set_sysctl("net/ipv4/ip_forward", "1").map_err(kernel("enable forwarding"))?;
        let mut state = State {
            records: HashMap::new(),
            addresses: Addresses::new(options.bridge_address, options.prefix_length),
            ports: Ports::new(names.seed()),
            bridges: HashMap::new(),
        };
        adopt(&records, &mut state).map_err(kernel("read the network records"))?;
        let host = Self {
            overlay: Mutex::new(records.overlay()),
            overlay_mtu: underlay_mtu().saturating_sub(VXLAN_BYTES),
            table: Mutex::new(Table::new(&options.table)),
            route: Mutex::new(None),
            firewall_checked: Mutex::new(Instant::now()),
            spares: Spares::new(),
            records,
            names,
            options,
            state: Mutex::new(state),
        };
        host.rebuild()?;
        Ok(host)
    }

    /// Makes the kernel agree with the records: bridges, the ports of bridges, the table; removes stray interfaces.
    fn rebuild(&self) -> Result<(), NetworkError> {
        let attachments: Vec<Attachment> =
            self.state.lock().records.values().filter_map(|record| record.attachment.clone()).collect();
        let default = Attachment {
            bridge: self.options.bridge.clone(),
            gateway: self.options.bridge_address,
            prefix_length: self.options.prefix_length,
            address: self.options.bridge_address,
            mac: [0; 6],
            veth: String::new(),
        };
        self.make_bridge(&default)?;
        for attachment in &attachments {
            let index = self.ensure_bridge(attachment)?;
            // A no-op, unless somebody has removed the bridge meanwhile.
            self.route(|netlink| link::attach(netlink, &attachment.veth, index))
                .map_err(kernel("connect to the bridge"))?;
        }
        let overlay = self.overlay.lock().clone();
        for applied in overlay.values() {
            self.ensure_bridge(&applied.attachment())?;
        }
        for name in interfaces().map_err(kernel("list interfaces"))? {
            if self.names.is_vxlan(&name) && !overlay.contains_key(&name) {
                self.delete_interface(&name);
            }
            if self.names.is_veth(&name) && !attachments.iter().any(|attachment| attachment.veth == name) {
                self.delete_interface(&name);
            }
            if self.names.is_subnet_bridge(&name) && !self.state.lock().bridges.contains_key(&name) {
                self.delete_interface(&name);
            }
        }
        self.replace_table()?;
        let bridges = self.bridges();
        std::thread::spawn(move || foreign_firewall::let_through(&bridges));
        Ok(())
    }

    fn replace_table(&self) -> Result<(), NetworkError> {
        let (bridges, forwards) = self.state.lock().table();
        self.table.lock().replace(&bridges, &forwards).map_err(kernel("set up the packet filter"))
    }

    pub(super) fn create(&self, key: &str, request: &NetworkRequest) -> Result<NetworkNamespace, NetworkError> {
        let path = self.records.namespace(key).ok_or_else(|| bad_key(key))?;
        if is_mounted(&path)
            && let Some(record) = self.state.lock().records.get(key)
        {
            return Ok(record.namespace(path));
        }
        self.remove(key)?;
        let record = Record { key: key.to_owned(), attachment: self.plan(request)?, ports: Vec::new() };
        self.state.lock().records.insert(key.to_owned(), record.clone());
        let proxy = match request {
            NetworkRequest::Awsvpc(interface) => interface.proxy.as_ref(),
            NetworkRequest::None | NetworkRequest::Bridge => None,
        };
        let made = self
            .records
            .write(&record)
            .map_err(kernel("write a network record"))
            .and_then(|()| self.make_namespace(&record, proxy, &path));
        if let Err(error) = made {
            // What the failed attempt left is in the namespace that is gone already.
            self.remove(key)?;
            return Err(error);
        }
        self.check_firewall();
        Ok(record.namespace(path))
    }

    fn plan(&self, request: &NetworkRequest) -> Result<Option<Attachment>, NetworkError> {
        match request {
            NetworkRequest::None => Ok(None),
            NetworkRequest::Bridge => {
                let address = self.state.lock().addresses.take();
                let address = address.ok_or(NetworkError::Exhausted { what: "address" })?;
                Ok(Some(Attachment {
                    bridge: self.options.bridge.clone(),
                    gateway: self.options.bridge_address,
                    prefix_length: self.options.prefix_length,
                    address,
                    mac: mac_of(address),
                    veth: self.names.new_veth(),
                }))
            }
            NetworkRequest::Awsvpc(interface) => self.plan_awsvpc(interface).map(Some),
        }
    }

    fn plan_awsvpc(&self, interface: &Interface) -> Result<Attachment, NetworkError> {
        let bad = |detail: String| NetworkError::Kernel { action: "network interface".to_owned(), detail };
        if !(1..=30).contains(&interface.prefix_length) {
            return Err(bad(format!("prefix length {}", interface.prefix_length)));
        }
        let mac = parse_mac(&interface.mac).ok_or_else(|| bad(format!("hardware address {:?}", interface.mac)))?;
        Ok(Attachment {
            bridge: self.names.subnet_bridge(&interface.subnet_id),
            gateway: interface.gateway,
            prefix_length: interface.prefix_length,
            address: interface.address,
            mac,
            veth: self.names.new_veth(),
        })
    }

    fn make_namespace(&self, record: &Record, proxy: Option<&Proxy>, path: &Path) -> Result<(), NetworkError> {
        let mut namespace = self.spares.take().map_err(kernel("create a network namespace"))?;
        let endpoint = record.attachment.as_ref().map(|_| TASK_ENDPOINT);
        link::loopback_up(&mut namespace.netlink, endpoint).map_err(kernel("bring up the loopback interface"))?;
        if let Some(attachment) = &record.attachment {
            self.connect(attachment, &namespace)?;
            let Attachment { address, prefix_length, gateway, .. } = *attachment;
            link::configure_eth0(&mut namespace.netlink, address, prefix_length, gateway)
                .map_err(kernel("configure the network interface"))?;
        }
        if let Some(proxy) = proxy {
            namespace.redirect_to_proxy(proxy).map_err(kernel("lead connections to the task's proxy"))?;
        }
        namespace.keep(path).map_err(kernel("keep the network namespace"))
    }

    fn connect(&self, attachment: &Attachment, namespace: &Namespace) -> Result<(), NetworkError> {
        let index = self.ensure_bridge(attachment)?;
        // Packets between tasks must fit through VXLAN wherever the other one is.
        let mtu = (attachment.bridge != self.options.bridge).then_some(self.overlay_mtu);
        let connect = |index| {
            let Attachment { veth, mac, .. } = attachment;
            self.route(|netlink| link::create_veth(netlink, veth, index, *mac, mtu, namespace.as_fd()))
        };
        match connect(index) {
            // Somebody has removed the bridge behind our back.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EINVAL)) => {
                let index = self.make_bridge(attachment)?;
                self.delete_interface(&attachment.veth);
                connect(index)
            }
            other => other,
        }
        .map_err(kernel("create the network interface"))
    }

    /// The index of the attachment's bridge, which is made when it is the first on it.
    pub(super) fn ensure_bridge(&self, attachment: &Attachment) -> Result<u32, NetworkError> {
        if let Some(index) = self.state.lock().bridges.get(&attachment.bridge) {
            return Ok(*index);
        }
        let index = self.make_bridge(attachment)?;
        match self.table.lock().add_bridge(&attachment.bridge) {
            // At the start there is no table yet; it gets all bridges when it is made.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(kernel("admit the bridge")(error)),
            _ => {}
        }
        foreign_firewall::let_through(std::slice::from_ref(&attachment.bridge));
        Ok(index)
    }

    fn make_bridge(&self, attachment: &Attachment) -> Result<u32, NetworkError> {
        let Attachment { bridge, gateway, prefix_length, .. } = attachment;
        let is_subnet = self.names.is_subnet_bridge(bridge);
        if is_subnet {
            self.check_range(bridge, *gateway, *prefix_length)?;
        }
        let mac = if is_subnet { new_mac() } else { mac_of(*gateway) };
        let index = self
            .route(|netlink| link::ensure_bridge(netlink, bridge, mac, *gateway, *prefix_length))
            .map_err(kernel(&format!("create the bridge {bridge}")))?;
        set_sysctl(&format!("net/ipv4/conf/{bridge}/route_localnet"), "1").map_err(kernel("configure the bridge"))?;
        self.state.lock().bridges.insert(bridge.clone(), index);
        Ok(index)
    }

    /// Refuses a new subnet whose addresses the host routes elsewhere: above all to the bridge of another Gantry. A wider
    /// route is in nobody's way.
    fn check_range(&self, bridge: &str, gateway: Ipv4Addr, prefix_length: u8) -> Result<(), NetworkError> {
        if Path::new("/sys/class/net").join(bridge).exists() {
            return Ok(());
        }
        let table = fs::read_to_string("/proc/net/route").map_err(kernel("read the routing table"))?;
        let taken = routed_networks(&table, |interface| interface == bridge);
        let own = (gateway, prefix_length);
        let in_the_way = |network: &(Ipv4Addr, u8)| network.1 >= prefix_length && overlap(*network, own);
        let Some((network, length)) = taken.into_iter().find(in_the_way) else {
            return Ok(());
        };
        Err(NetworkError::Kernel {
            action: format!("create the bridge {bridge}"),
            detail: format!(
                "its addresses {gateway}/{prefix_length} are in use on this host as {network}/{length}, perhaps by another \
                 Gantry: name the subnet differently in one of them"
            ),
        })
    }

    /// Opens the endpoint of tasks in the namespace of `key`, or on the host itself.
    pub(super) fn endpoint(&self, key: Option<&str>) -> Result<TcpListener, NetworkError> {
        let opened = match key {
            Some(key) => endpoint::open_inside(&self.records.namespace(key).ok_or_else(|| bad_key(key))?),
            None => {
                let table = endpoint::host_table(&self.options.table);
                self.route(|netlink| endpoint::open_on_host(netlink, &table))
            }
        };
        opened.map_err(kernel("open the endpoint of the task"))
    }

    /// Removes a subnet's bridge that no task is on.
    pub(super) fn remove_unused_bridge(&self, bridge: &str) {
        {
            // Held to the end: a task that comes now makes the bridge again.
            let mut state = self.state.lock();
            let mut attachments = state.records.values().filter_map(|record| record.attachment.as_ref());
            if attachments.any(|attachment| attachment.bridge == bridge) {
                return;
            }
            state.bridges.remove(bridge);
            self.delete_interface(bridge);
        }
        foreign_firewall::forget(&[bridge.to_owned()]);
    }

    pub(super) fn publish(&self, key: &str, wanted: &[Publish]) -> Result<Vec<Publish>, NetworkError> {
        let mut state = self.state.lock();
        let missing = || kernel(&format!("publish ports of {key}"))(io::ErrorKind::NotFound.into());
        let record = state.records.get(key).ok_or_else(missing)?;
        if record.attachment.is_none() && !wanted.is_empty() {
            return Err(missing());
        }
        let mut published = already_published(&record.ports, wanted);
        let unpublished = wanted.iter().zip(&published).filter(|(_, found)| found.is_none());
        let new: Vec<Publish> = unpublished.map(|(wanted, _)| wanted.clone()).collect();
        let mut new = self.publish_new(&mut state, key, &new)?.into_iter();
        published.iter_mut().filter(|found| found.is_none()).for_each(|found| *found = new.next());
        Ok(published.into_iter().flatten().map(Port::as_publish).collect())
    }

    fn publish_new(&self, state: &mut State, key: &str, wanted: &[Publish]) -> Result<Vec<Port>, NetworkError> {
        let Some(mut record) = state.records.get(key).filter(|_| !wanted.is_empty()).cloned() else {
            return Ok(Vec::new());
        };
        let port = |(wanted, host): (&Publish, u16)| Port {
            udp: wanted.protocol == Protocol::Udp,
            host,
            container: wanted.container_port,
        };
        let new: Vec<Port> = wanted.iter().zip(state.ports.take(wanted)?).map(port).collect();
        record.ports.extend(&new);
        let before = state.records.insert(key.to_owned(), record.clone());
        let done = self.records.write(&record).and_then(|()| self.add_forwards(state, &record.forwards(&new)));
        if let Err(error) = done {
            new.iter().for_each(|port| state.ports.release(port.protocol(), port.host));
            if let Some(before) = before {
                // Should this fail too, the ports are published at the next start and unpublished with the rest.
                let _ = self.records.write(&before);
                state.records.insert(key.to_owned(), before);
            }
            return Err(kernel("publish ports")(error));
        }
        if let Some(attachment) = &record.attachment {
            forget_udp(&new, attachment.address);
        }
        Ok(new)
    }

    fn add_forwards(&self, state: &State, forwards: &[Forward]) -> io::Result<()> {
        let mut table = self.table.lock();
        match table.add(forwards) {
            // Somebody has flushed the packet filter.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!("the packet filter's table was gone");
                let (bridges, forwards) = state.table();
                table.replace(&bridges, &forwards)
            }
            other => other,
        }
    }

    /// Returns the host's end of the veth pair, which should disappear by itself soon.
    pub(super) fn remove(&self, key: &str) -> Result<Option<String>, NetworkError> {
        let path = self.records.namespace(key).ok_or_else(|| bad_key(key))?;
        let record = self.state.lock().records.get(key).cloned();
        if let Some(record) = &record
            && !record.ports.is_empty()
        {
            self.table.lock().remove(&record.forwards(&record.ports)).map_err(kernel("unpublish ports"))?;
        }
        release(&path).map_err(kernel("release the network namespace"))?;
        self.records.remove(key).map_err(kernel("remove a network record"))?;
        let Some(record) = record else { return Ok(None) };
        let mut state = self.state.lock();
        record.ports.iter().for_each(|port| state.ports.release(port.protocol(), port.host));
        state.records.remove(key);
        let Some(attachment) = record.attachment else { return Ok(None) };
        if attachment.bridge == self.options.bridge {
            state.addresses.release(attachment.address);
        }
        drop(state);
        forget_udp(&record.ports, attachment.address);
        Ok(Some(attachment.veth))
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.state.lock().records.keys().cloned().collect()
    }

    /// Removes an interface if it is still there.
    pub(super) fn delete_interface(&self, name: &str) {
        if let Err(error) = self.route(|netlink| link::delete(netlink, name)) {
            tracing::warn!(name, %error, "cannot remove an interface");
        }
    }

    /// Removes everything: for an instance that is not coming back.
    pub(super) fn tear_down(&self) -> Result<(), NetworkError> {
        for key in self.list() {
            if let Some(veth) = self.remove(&key)? {
                self.delete_interface(&veth);
            }
        }
        let bridges = self.bridges();
        foreign_firewall::forget(&bridges);
        self.table.lock().delete().map_err(kernel("remove the packet filter"))?;
        let of_endpoint = endpoint::host_table(&self.options.table);
        Table::new(&of_endpoint).delete().map_err(kernel("remove the packet filter of the endpoint"))?;
        std::mem::take(&mut *self.overlay.lock()).keys().for_each(|name| self.delete_interface(name));
        bridges.iter().for_each(|bridge| self.delete_interface(bridge));
        self.state.lock().bridges.clear();
        fs::remove_dir_all(self.records.root()).map_err(kernel("remove the network directory"))
    }

    pub(super) fn bridges(&self) -> Vec<String> {
        self.state.lock().bridges.keys().cloned().collect()
    }

    fn check_firewall(&self) {
        {
            let mut checked = self.firewall_checked.lock();
            if checked.elapsed() < FIREWALL_INTERVAL {
                return;
            }
            *checked = Instant::now();
        }
        let bridges = self.bridges();
        std::thread::spawn(move || foreign_firewall::let_through(&bridges));
    }

    pub(super) fn route<T>(&self, work: impl FnOnce(&mut Netlink) -> io::Result<T>) -> io::Result<T> {
        let mut slot = self.route.lock();
        let mut netlink = match slot.take() {
            Some(netlink) => netlink,
            None => Netlink::open(Family::Route)?,
        };
        let result = work(&mut netlink)?;
        *slot = Some(netlink);
        Ok(result)
    }
}

/// The record's ports that answer each of `wanted`, each used once.
fn already_published(ports: &[Port], wanted: &[Publish]) -> Vec<Option<Port>> {
    let mut left = ports.to_vec();
    let find = |wanted: &Publish| {
        let at = left.iter().position(|port| port.satisfies(wanted))?;
        Some(left.swap_remove(at))
    };
    wanted.iter().map(find).collect()
}

/// Takes over the namespaces that are alive and forgets the others.
fn adopt(records: &Records, state: &mut State) -> io::Result<()> {
    for record in records.all()? {
        if !records.namespace(&record.key).is_some_and(|path| is_mounted(&path)) {
            records.remove(&record.key)?;
            continue;
        }
        if let Some(attachment) = &record.attachment {
            state.addresses.adopt(attachment.address);
        }
        record.ports.iter().for_each(|port| state.ports.adopt(port.protocol(), port.host));
        state.records.insert(record.key.clone(), record);
    }
    for key in records.namespace_keys()? {
        let Some(path) = records.namespace(&key) else { continue };
        if !is_mounted(&path) {
            fs::remove_file(&path)?;
            continue;
        }
        state.records.entry(key).or_insert_with_key(|key| {
            // Somebody may be running in it: it stays, as far as we know unconnected.
            tracing::warn!(key, "a network namespace without a record");
            Record { key: key.clone(), attachment: None, ports: Vec::new() }
        });
    }
    Ok(())
}

/// The address chosen at the first start, or one that the host does not use.
fn bridge_address(records: &Records, options: &NetworkOptions) -> Result<std::net::Ipv4Addr, NetworkError> {
    if let Some(address) = records.bridge_address() {
        return Ok(address);
    }
    let table = fs::read_to_string("/proc/net/route").map_err(kernel("read the routing table"))?;
    let taken = routed_networks(&table, |interface| interface == options.bridge);
    let address = options.free_address(&taken).ok_or(NetworkError::Exhausted { what: "subnet for the bridge" })?;
    records.keep_bridge_address(address).map_err(kernel("write the bridge's address"))?;
    Ok(address)
}

/// The largest packet that leaves the host by its default route in one piece.
fn underlay_mtu() -> u32 {
    let table = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let default = table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let interface = fields.next()?;
        (fields.next()? == "00000000").then_some(interface)
    });
    let mtu = default.and_then(|name| fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok());
    mtu.and_then(|text| text.trim().parse().ok()).filter(|mtu| *mtu >= 1280).unwrap_or(1500)
}

fn interfaces() -> io::Result<Vec<String>> {
    fs::read_dir("/sys/class/net")?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    let path = Path::new("/proc/sys").join(name);
    // Reading first lets this work where /proc/sys is read-only and already right.
    if fs::read_to_string(&path).is_ok_and(|current| current.trim() == value) {
        return Ok(());
    }
    fs::write(path, value)
}

fn forget_udp(ports: &[Port], container: std::net::Ipv4Addr) {
    let udp: HashSet<u16> = ports.iter().filter(|port| port.udp).map(|port| port.host).collect();
    if !udp.is_empty()
        && let Err(error) = conntrack::forget_udp(&udp, container)
    {
        tracing::warn!(%error, "cannot forget old UDP flows");
    }
}

pub(super) fn bad_key(key: &str) -> NetworkError {
    kernel(&format!("network key {key:?}"))(io::ErrorKind::InvalidInput.into())
}
