"""What is known of the programs that stand in front of a training script, and of their options.

For torchrun this is compared with torch's own parser by ``tests/against/test_command_live.py``; the others are from
their manuals (srun(1), mpirun(1), numactl(8), env(1), ...). Options that are not listed do no harm as long as they are
written ``--name=value``; otherwise the next word counts as the value if it can be one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bridge_args.records import Record


class Program(Record):
    """Options by name, without the dashes in front and with underscores inside.

    Attributes:
        valued: options that take a value.
        switches: options that take none, or only one attached with "=".
        short: letter -> long name.
        renamed: name here -> name in ``Command.launcher_options``.
        subcommand: does a word come before the options, as in ``nsys profile -o ...``?
        operands: how many words come between the options and the program that is started, as in ``timeout 10 ...``.
        starts_scripts: is what follows a Python script, not any program?
    """

    valued: frozenset[str] = frozenset()
    switches: frozenset[str] = frozenset()
    short: Mapping[str, str] = MappingProxyType({})
    renamed: Mapping[str, str] = MappingProxyType({})
    subcommand: bool = False
    operands: int = 0
    starts_scripts: bool = False

    def option(self, written: str) -> str:
        """The full name of an option written in full or as a beginning that fits only one."""
        if written in self.valued or written in self.switches:
            return written
        matches = [name for name in self.valued | self.switches if name.startswith(written)]
        return matches[0] if len(matches) == 1 else written


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


_TORCHRUN: Final = Program(
    valued=_names(
        "nnodes nproc_per_node rdzv_backend rdzv_endpoint rdzv_id rdzv_conf max_restarts monitor_interval start_method "
        "event_log_handler role log_dir redirects tee local_ranks_filter duplicate_stdout_filters "
        "duplicate_stderr_filters node_rank master_addr master_port local_addr logs_specs numa_binding "
        "signals_to_handle shutdown_timeout"
    ),
    switches=_names("help standalone module no_python run_path virtual_local_rank use_env"),
    short=_pairs("m=module r=redirects t=tee h=help"),
    starts_scripts=True,
)

LAUNCHERS: Final[dict[str, Program]] = {
    "torchrun": _TORCHRUN,
    "torch.distributed.launch": _TORCHRUN,
    "ft_launcher": _TORCHRUN,  # torchrun's options and its own --ft-..., which take a value
    "srun": Program(
        valued=_names(
            "account begin chdir cluster_constraint clusters comment constraint container container_env container_id "
            "container_image container_mounts container_name container_save container_workdir core_spec "
            "cores_per_socket cpu_bind cpu_freq cpus_per_gpu cpus_per_task deadline dependency distribution epilog "
            "error exclude export export_file extra extra_node_info gpu_bind gpu_freq gpus gpus_per_node "
            "gpus_per_socket gpus_per_task gres gres_flags hint input job_name jobid licenses mail_type mail_user mem "
            "mem_bind mem_per_cpu mem_per_gpu mincpus mpi msg_timeout network nodefile nodelist nodes ntasks "
            "ntasks_per_core ntasks_per_gpu ntasks_per_node ntasks_per_socket open_mode output partition power prefer "
            "priority profile prolog qos relative reservation segment signal sockets_per_node task_epilog task_prolog "
            "thread_spec threads threads_per_core time time_min tmp tres_bind tres_per_task wait wckey"
        ),
        switches=_names(
            "contiguous container_mount_home container_entrypoint container_remap_root container_writable "
            "disable_status exact exclusive external help hold immediate interactive kill_on_bad_exit label multi_prog "
            "nice no_allocate no_container_entrypoint no_container_mount_home no_container_remap_root no_kill "
            "overcommit overlap oversubscribe preserve_env propagate pty quiet reboot spread_job test_only unbuffered "
            "usage use_min_nodes verbose version whole x11"
        ),
        short=_pairs(
            "A=account B=extra_node_info C=constraint D=chdir E=preserve_env F=nodefile G=gpus H=hold I=immediate "
            "J=job_name K=kill_on_bad_exit L=licenses M=clusters N=nodes O=overcommit Q=quiet S=core_spec T=threads "
            "W=wait X=disable_status Z=no_allocate c=cpus_per_task d=dependency e=error i=input k=no_kill l=label "
            "m=distribution n=ntasks o=output p=partition q=qos r=relative s=oversubscribe t=time u=unbuffered "
            "v=verbose w=nodelist x=exclude"
        ),
    ),
    "mpirun": Program(
        valued=_names(
            "H N bind_to c gmca host hostfile iface machinefile map_by mca n np npernode output_filename ppn prefix "
            "rank_by timeout wd wdir x"
        ),
        switches=_names(
            "allow_run_as_root bind_to_core bind_to_none display_map nooversubscribe oversubscribe q quiet "
            "report_bindings tag_output timestamp_output v verbose"
        ),
        renamed=_pairs("c=ntasks n=ntasks np=ntasks N=ntasks_per_node npernode=ntasks_per_node ppn=ntasks_per_node"),
    ),
    "deepspeed": Program(
        valued=_names(
            "autotuning bind_core_list exclude hostfile include launcher launcher_args master_addr master_port "
            "max_elastic_nodes min_elastic_nodes node_rank num_gpus num_nodes ssh_port venv_script"
        ),
        switches=_names(
            "bind_cores_to_rank elastic_training force_multi help module no_local_rank no_python no_ssh no_ssh_check "
            "save_pid"
        ),
        short=_pairs("H=hostfile e=exclude i=include h=help"),
        renamed=_pairs("num_gpus=nproc_per_node num_nodes=nnodes"),
        starts_scripts=True,
    ),
    "accelerate": Program(
        switches=_names(
            "cpu debug downcast_bf16 dynamo_use_dynamic dynamo_use_fullgraph dynamo_use_regional_compilation "
            "enable_cpu_affinity help module multi_gpu no_python no_tpu_cluster quiet same_network tpu tpu_cluster "
            "tpu_use_sudo use_deepspeed use_fsdp use_megatron_lm use_parallelism_config"
        ),
        short=_pairs("m=module h=help q=quiet"),
        renamed=_pairs(
            "num_machines=nnodes machine_rank=node_rank main_process_ip=master_addr main_process_port=master_port"
        ),
        subcommand=True,
        starts_scripts=True,
    ),
}

SAME_PROGRAM: Final = {"mpiexec": "mpirun", "orterun": "mpirun"}

# ``python -m NAME`` -> the launcher of that name.
MODULES: Final = {
    "torch.distributed.run": "torchrun",
    "torch.distributed.launch": "torch.distributed.launch",
    "nvidia_resiliency_ext.fault_tolerance.launcher": "ft_launcher",
    "deepspeed.launcher.runner": "deepspeed",
}

_CONTAINER: Final = Program(
    valued=_names(
        "a add_host attach blkio_weight c cap_add cap_drop cgroup_parent cgroupns cidfile cpu_shares cpus cpuset_cpus "
        "cpuset_mems device dns e entrypoint env env_file expose gpus group_add h health_cmd hostname ip ipc isolation "
        "l label label_file link log_driver log_opt m mac_address memory memory_swap mount name net network "
        "network_alias oom_score_adj p pid pids_limit platform publish pull restart runtime security_opt shm_size "
        "stop_signal stop_timeout storage_opt sysctl tmpfs u ulimit user userns uts v volume volumes_from w workdir"
    ),
    switches=_names(
        "P d detach disable_content_trust i init interactive no_healthcheck oom_kill_disable privileged publish_all q "
        "quiet read_only rm sig_proxy t tty"
    ),
    subcommand=True,
    operands=1,  # the image, or the container
)
_SINGULARITY: Final = Program(
    valued=_names(
        "B H S W add_caps app apply_cgroups bind cwd dns drop_caps env env_file fusemount home hostname mount network "
        "network_args o overlay pem_path pwd scratch security workdir"
    ),
    switches=_names(
        "C F allow_setuid c cleanenv compat contain containall containlibs disable_cache e f fakeroot i ipc keep_privs "
        "net no_eval no_home no_https no_init no_mount no_privs no_umask nv nvccli p passphrase pid rocm u userns uts "
        "w writable writable_tmpfs"
    ),
    subcommand=True,
    operands=1,
)

_CONDA: Final = Program(
    valued=_names("n name p prefix cwd"),
    switches=_names("no_capture_output live_stream v verbose dev debug_wrapper_scripts no_banner"),
    subcommand=True,
)

WRAPPERS: Final[dict[str, Program]] = {
    "apptainer": _SINGULARITY,
    "docker": _CONTAINER,
    "nerdctl": _CONTAINER,
    "podman": _CONTAINER,
    "singularity": _SINGULARITY,
    "env": Program(valued=_names("C chdir u unset"), switches=_names("0 debug i ignore_environment null v")),
    "exec": Program(valued=_names("a"), switches=_names("c l")),
    "conda": _CONDA,
    "enroot": Program(
        valued=_names("c conf e env m mount"), switches=_names("r root rw w rw"), subcommand=True, operands=1
    ),
    "hatch": Program(subcommand=True),
    "mamba": _CONDA,
    "micromamba": _CONDA,
    "ncu": Program(
        valued=_names("c export k kernel_name launch_count launch_skip o s section set target_processes"),
    ),
    "nice": Program(valued=_names("n adjustment")),
    "nohup": Program(),
    "nsys": Program(
        valued=_names(
            "b backtrace c capture_range capture_range_end cuda_graph_trace cuda_memory_usage d delay duration e "
            "env_var export f force_overwrite gpu_metrics_device gpu_metrics_devices inherit_environment kill n "
            "nic_metrics o output p python_sampling pytorch s sample session session_new show_output stats t trace w "
            "x y"
        ),
        subcommand=True,
    ),
    "numactl": Program(
        valued=_names(
            "C N P cpunodebind i interleave m membind p physcpubind preferred preferred_many w weighted_interleave"
        ),
        switches=_names("H a all b balancing hardware l localalloc s show"),
    ),
    "pixi": Program(subcommand=True),
    "poetry": Program(subcommand=True),
    "salloc": LAUNCHERS["srun"],
    "setsid": Program(switches=_names("c ctty f fork w wait")),
    "stdbuf": Program(valued=_names("e error i input o output")),
    "sudo": Program(valued=_names("g group u user"), switches=_names("E H i n preserve_env s")),
    "taskset": Program(switches=_names("a all_tasks c cpu_list"), operands=1),
    "time": Program(valued=_names("f format o output"), switches=_names("a append p portability v verbose")),
    "timeout": Program(
        valued=_names("k kill_after s signal"), switches=_names("foreground preserve_status v verbose"), operands=1
    ),
    "uv": Program(
        valued=_names("directory extra group p project python with"),
        switches=_names("active frozen isolated locked no_sync q quiet"),
        subcommand=True,
    ),
}

# Behind these are other programs than here: another machine, a container, an environment of Python's.
ELSEWHERE: Final = frozenset(
    (
        "apptainer chroot clush conda docker enroot hatch kubectl mamba micromamba nerdctl nix pdsh pixi podman poetry "
        "singularity ssh uv uvx"
    ).split()
)

SHELLS: Final = ("bash", "dash", "sh", "zsh")
