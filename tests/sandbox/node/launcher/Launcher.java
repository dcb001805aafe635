// Copyright: Contributors to the pragmatica.aether project
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

import java.io.File;
import java.util.ArrayList;
import java.util.List;

/**
 * Starts the simulated node from the JAR it stands in, which is a Python archive as well.
 *
 * The child ends with this JVM, however that ends: its standard input closes. Its exit code is ours.
 */
public final class Launcher {
    public static void main(String[] arguments) throws Exception {
        String jar = new File(Launcher.class.getProtectionDomain().getCodeSource().getLocation().toURI()).getPath();
        List<String> command = new ArrayList<>(List.of("python3", jar));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command)
            .redirectOutput(ProcessBuilder.Redirect.INHERIT)
            .redirectError(ProcessBuilder.Redirect.INHERIT);
        builder.environment().put("SIMNODE_CHILD", "1");
        Process child = builder.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            // SIGTERM by its handle, for Process.destroy() would close its standard input as well.
            // A second one, where systemd sent the first, changes nothing.
            child.toHandle().destroy();
            try {
                child.waitFor();
            } catch (InterruptedException ignored) {
                child.destroyForcibly();
            }
        }));
        System.exit(child.waitFor());
    }
}
