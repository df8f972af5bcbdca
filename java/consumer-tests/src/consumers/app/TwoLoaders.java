package com.example;

import java.net.URL;
import java.net.URLClassLoader;

/** Runs {@link App} twice, each time by a class loader that knows nothing of the other. */
public final class TwoLoaders {
  public static void main(String[] args) throws Exception {
    URL[] urls = new URL[Integer.parseInt(args[0])];
    for (int i = 0; i < urls.length; i++) {
      urls[i] = java.nio.file.Path.of(args[1 + i]).toUri().toURL();
    }
    String[] rest = java.util.Arrays.copyOfRange(args, 1 + urls.length, args.length);
    String output = rest[1];
    for (String name : new String[] {output + "-first", output}) {
      // Both stay open.
      ClassLoader loader = new URLClassLoader(urls, ClassLoader.getPlatformClassLoader());
      rest[1] = name;
      loader.loadClass("com.example.App").getMethod("main", String[].class).invoke(null, (Object) rest);
    }
  }
}
